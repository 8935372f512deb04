"""Ids and times: the order of the one is the order of the other, and the way there and back is the identity."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walrus_ts import DataError, Message, UsageError
from walrus_ts.bounds import lower_id, upper_id
from walrus_ts.ids import COUNTERS, MAX_SEQUENCE, TICKS, StreamId, Unit, count_late, expresses, from_ids, to_ids
from walrus_ts.times import TimeAxis, parse_zone, to_datetime

UNITS: list[Unit] = ["s", "ms", "us", "ns"]
PROFILE = settings(derandomize=True, deadline=None, max_examples=150)
BERLIN = ZoneInfo("Europe/Berlin")
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59

units = st.sampled_from(UNITS)


@st.composite
def times(draw: st.DrawFn, unit: Unit | None = None) -> pa.TimestampArray:
    """Make times in order, from 1970 to 9999, or as far as the unit goes; some of them repeated."""
    unit = unit or draw(units)
    last = min((LAST_SECOND + 1) * TICKS[unit] - 1, 2**63 - 1)
    near = st.integers(0, 5).map(lambda tick: 1_704_067_200 * TICKS[unit] + tick)
    late = st.integers(0, 10**6).map(lambda tick: last - tick)
    ticks = sorted(draw(st.lists(near | late | st.integers(0, last), max_size=12)))
    return pa.array(ticks, pa.int64()).cast(pa.timestamp(unit))


def ids(found: Any, after: StreamId | None = None) -> list[StreamId]:
    """Give times their ids."""
    milliseconds, sequence = to_ids(found, after)
    return [StreamId(int(a), int(b)) for a, b in zip(milliseconds, sequence, strict=True)]


def array(*ticks: int, unit: Unit = "ns") -> pa.TimestampArray:
    """Make times of ticks."""
    return pa.array(ticks, pa.int64()).cast(pa.timestamp(unit))


class TestColumns:
    @PROFILE
    @given(times())
    def test_there_and_back(self, given_times: pa.TimestampArray) -> None:
        """Times become ids and the same times again, in every unit."""
        found = from_ids(*to_ids(given_times), given_times.type.unit)
        assert found.tolist() == given_times.cast(pa.int64()).to_pylist()

    @PROFILE
    @given(times())
    def test_ids_rise(self, given_times: pa.TimestampArray) -> None:
        """Ids rise strictly, with rows of one time in their order; none is 0-0, which Redis does not take."""
        found = [StreamId(0, 0), *ids(given_times)]
        assert all(one < other for one, other in pairwise(found))

    @PROFILE
    @given(times(), units)
    def test_a_coarser_unit_makes_the_same_ids(self, given_times: pa.TimestampArray, unit: Unit) -> None:
        """One time has one id, whatever the unit that it is expressed in."""
        try:
            finer = given_times.cast(pa.timestamp(unit))
        except pa.ArrowInvalid:
            return
        assert ids(finer) == ids(given_times)

    @PROFILE
    @given(times(), st.integers(0, 12))
    def test_pieces_make_the_ids_of_the_whole(self, given_times: pa.TimestampArray, cut: int) -> None:
        """What is appended in two pieces gets the ids of one."""
        cut = min(cut, len(given_times))
        first = ids(given_times[:cut])
        assert first + ids(given_times[cut:], first[-1] if first else None) == ids(given_times)

    @PROFILE
    @given(times(), st.integers(0, 12))
    def test_late(self, given_times: pa.TimestampArray, cut: int) -> None:
        """Those rows are late that are older than the time at which the stream ends."""
        found = ids(given_times)
        if found:
            last = found[min(cut, len(found) - 1)]
            ticks = given_times.cast(pa.int64()).to_pylist()
            assert count_late(given_times, last) == sum(tick < ticks[found.index(last)] for tick in ticks)
        assert count_late(given_times, None) == 0

    def test_the_formula(self) -> None:
        """A whole millisecond's rows are ms-0, ms-1, …; nanoseconds stand above the counter."""
        assert ids(array(5_000_000, 5_000_000, 5_000_007)) == [(5, 0), (5, 1), (5, 7 << 20)]
        assert ids(array(3, unit="us")) == [(0, 3_000 << 20)]

    @pytest.mark.parametrize("unit", UNITS)
    def test_the_first_moment(self, unit: Unit) -> None:
        """0-0 is no entry's id: the first moment of 1970 begins at 0-1."""
        assert ids(array(0, 0, unit=unit)) == [(0, 1), (0, 2)]
        assert from_ids(*to_ids(array(0, 0, unit=unit)), unit).tolist() == [0, 0]

    @pytest.mark.parametrize("unit", UNITS)
    def test_counters_end(self, unit: Unit) -> None:
        """2**20 rows may share a timestamp; one more is an error that names it and the row."""
        full = pa.array(np.full(COUNTERS, 7 * TICKS[unit]), pa.int64()).cast(pa.timestamp(unit))
        assert ids(full)[-1] == (7_000, COUNTERS - 1)
        with pytest.raises(UsageError, match=r"1970-01-01 00:00:07.*row 1048576") as caught:
            to_ids(pa.concat_arrays([full, full[:1]]))
        assert caught.value.row == COUNTERS
        with pytest.raises(UsageError, match="row 0"):
            to_ids(full[:1], StreamId(7_000, COUNTERS - 1))

    @pytest.mark.parametrize("unit", ["s", "ms"])
    def test_counters_of_other_programs_continue(self, unit: Unit) -> None:
        """In the units s and ms, what other programs count on from is a mere counter."""
        assert ids(array(5 * TICKS[unit], unit=unit), StreamId(5_000, 1 << 40)) == [(5_000, (1 << 40) + 1)]

    def test_ids_that_a_unit_cannot_express(self) -> None:
        """An id that stands for a time between two ticks is an error that names it and the cure."""
        for unit, id_ in [
            ("s", (1_500, 0)),
            ("us", (1, 7 << 20)),
            ("ns", (1, 10**6 << 20)),
            ("ms", (LAST_SECOND * 1_000 + 1_000, 0)),
            ("ns", (9_223_372_036_854, 775_808 << 20)),
            ("ns", (9_223_372_036_855, 0)),
        ]:
            columns = [np.array([0, number], np.uint64) for number in id_]
            with pytest.raises(DataError, match=rf"{id_[0]}-{id_[1]}.*declare") as caught:
                from_ids(*columns, unit)
            assert caught.value.id == f"{id_[0]}-{id_[1]}"
            assert not expresses(unit, StreamId(*id_))

    @PROFILE
    @given(
        units,
        st.integers(0, 2 * LAST_SECOND * 1_000) | st.integers(0, 9).map(lambda second: 1_000 * second),
        st.integers(0, MAX_SEQUENCE) | st.integers(0, 1_000).map(lambda ticks: 1_000 * ticks * COUNTERS),
    )
    def test_one_id_is_as_many(self, unit: Unit, milliseconds: int, sequence: int) -> None:
        """Whether a unit can express one id does not depend on how it is asked."""
        try:
            from_ids(np.array([milliseconds], np.uint64), np.array([sequence], np.uint64), unit)
        except DataError:
            assert not expresses(unit, StreamId(milliseconds, sequence))
        else:
            assert expresses(unit, StreamId(milliseconds, sequence))


class TestOneTime:
    @PROFILE
    @given(times(), st.sampled_from([None, *UNITS]))
    def test_single_times_and_columns_agree(self, given_times: pa.TimestampArray, unit: Unit | None) -> None:
        """What stands for one time is what a column of times has for it; bounds hold all of its rows."""
        axis = TimeAxis(given_times.type.unit)
        for tick in given_times.cast(pa.int64()).to_pylist()[1:]:
            value = np.datetime64(tick, given_times.type.unit)
            (first, second) = ids(array(tick, tick, unit=given_times.type.unit))
            if tick:
                assert StreamId.parse(axis.at(value)) == first
            assert StreamId.parse(axis.lower(value)) <= first < second <= StreamId.parse(axis.upper(value))

    @PROFILE
    @given(st.integers(0, 10**19 // 2), units)
    def test_bounds_are_rounded_inward(self, ns: int, unit: Unit) -> None:
        """A bound finer than the unit is rounded inward: no row outside of it is met."""
        ns = min(ns, 9_223_372_036 * 10**9)
        axis, step = TimeAxis(unit), 10**9 // TICKS[unit]
        above, below = -(-ns // step), ns // step
        assert StreamId.parse(axis.lower_ns(ns)) <= ids(array(above + 1, unit=unit))[0]
        if above:
            assert StreamId.parse(axis.lower_ns(ns)) == ids(array(above, unit=unit))[0]
            assert ids(array(above - 1, above - 1, unit=unit))[-1] < StreamId.parse(axis.lower_ns(ns))
        assert ids(array(below, below, unit=unit))[-1] <= StreamId.parse(axis.upper_ns(ns))
        assert StreamId.parse(axis.upper_ns(ns)) < ids(array(below + 1, unit=unit))[0]

    @pytest.mark.parametrize("unit", [None, "s", "ms"])
    def test_the_last_id_of_a_millisecond(self, unit: Unit | None) -> None:
        """Without nanoseconds, a time's last id has the greatest sequence."""
        assert TimeAxis(unit).upper(datetime(1970, 1, 1, 0, 0, 5)) == b"5000-%d" % MAX_SEQUENCE
        assert TimeAxis("us").upper(datetime(1970, 1, 1, 0, 0, 5)) == b"5000-%d" % (COUNTERS - 1)

    @pytest.mark.parametrize(
        "value",
        [
            datetime(2024, 7, 1, 12),
            datetime(2024, 7, 1, 10, tzinfo=UTC),
            datetime(2024, 7, 1, 12, tzinfo=BERLIN),
            datetime(2024, 7, 1, 12, tzinfo=dateutil.tz.gettz("Europe/Berlin")),
            datetime(2024, 7, 1, 15, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            pd.Timestamp("2024-07-01 12:00"),
            pd.Timestamp("2024-07-01 12:00").as_unit("s"),
            pd.Timestamp("2024-07-01 06:00", tz="America/New_York"),
            np.datetime64("2024-07-01T12:00"),
            np.datetime64("2024-07-01T12"),
        ],
        ids=repr,
    )
    def test_kinds_of_times(self, value: Any) -> None:
        """An aware time means what it says; a naive one is in the axis' zone."""
        assert TimeAxis("ns", BERLIN).at(value) == b"1719828000000-0"

    @pytest.mark.parametrize("value", [date(2024, 7, 1), np.datetime64("2024-07-01"), np.datetime64("2024-07")])
    def test_dates(self, value: Any) -> None:
        """A date is its midnight in the axis' zone."""
        assert TimeAxis("s", BERLIN).at(value) == b"1719784800000-0"
        assert TimeAxis("s").at(value) == b"1719792000000-0"

    @pytest.mark.parametrize("zone", [BERLIN, dateutil.tz.gettz("Europe/Berlin")], ids=["zoneinfo", "dateutil"])
    def test_a_time_that_a_zone_has_twice(self, zone: Any) -> None:
        """A naive time that a zone has twice is an error that names both cures, and `fold=1` is one of them."""
        axis, twice = TimeAxis("s", zone), datetime(2023, 10, 29, 2, 30)
        with pytest.raises(UsageError, match=r"twice.*fold=1.*ambiguous"):
            axis.at(twice)
        assert axis.at(twice.replace(fold=1)) == b"1698543000000-0"
        assert axis.at(twice.replace(tzinfo=BERLIN)) == b"1698539400000-0"
        assert lower_id("2023-10-29 02:30:00", axis) == b"1698539400000-0"
        assert upper_id("2023-10-29 02:30:00", axis).startswith(b"1698543000000-")

    @pytest.mark.parametrize("zone", [BERLIN, dateutil.tz.gettz("Europe/Berlin")], ids=["zoneinfo", "dateutil"])
    def test_a_time_that_a_zone_never_has(self, zone: Any) -> None:
        """A naive time that a zone never has is an error; in a string it is the gap's end."""
        axis = TimeAxis("s", zone)
        with pytest.raises(UsageError, match="never"):
            axis.at(datetime(2023, 3, 26, 2, 30))
        assert lower_id("2023-03-26 02:30:00", axis) == b"1679792400000-0"
        assert upper_id("2023-03-26 02:30:00", axis).startswith(b"1679792400000-")

    @pytest.mark.parametrize("value", [pd.NaT, np.datetime64("NaT")], ids=repr)
    def test_nat(self, value: Any) -> None:
        """NaT has no id."""
        for method in (TimeAxis().at, TimeAxis().lower, TimeAxis().upper):
            with pytest.raises(UsageError, match="NaT"):
                method(value)

    @pytest.mark.parametrize(
        "value",
        [datetime(1969, 12, 31, 23, 59, 59), date(1969, 12, 31), np.datetime64(-1, "ns"), pd.Timestamp(-1)],
        ids=repr,
    )
    def test_before_1970(self, value: Any) -> None:
        """A time before 1970 has no id."""
        with pytest.raises(UsageError, match="1970"):
            TimeAxis("ns").at(value)

    def test_finer_than_nanoseconds(self) -> None:
        """A datetime64 that is finer than nanoseconds is rounded down to them."""
        assert TimeAxis("ns").at(np.datetime64("1970-01-01T00:00:01.000000002999", "ps")) == b"1000-%d" % (2 << 20)

    def test_pairs(self) -> None:
        """A pair is a time's millisecond and a sequence as it stands."""
        axis = TimeAxis("ns")
        assert axis.at((datetime(1970, 1, 1, 0, 0, 1, 1_999), 7)) == b"1001-7"
        assert axis.lower((datetime(1970, 1, 1), np.uint64(MAX_SEQUENCE))) == b"0-%d" % MAX_SEQUENCE
        for wrong in [(1, 2), (datetime(2024, 1, 1), -1), (datetime(2024, 1, 1), 2**64), (datetime(2024, 1, 1),)]:
            with pytest.raises(UsageError):
                axis.at(wrong)

    def test_messages_and_ids(self) -> None:
        """A Message stands for its id; ids pass as they are."""
        assert TimeAxis().at(Message("s", b"5-3", {})) == "5-3"
        assert TimeAxis().lower("2024-01") == "2024-01"


class TestZones:
    @pytest.mark.parametrize(
        ("name", "offset"), [("Europe/Berlin", 2), ("+05:30", 5.5), ("UTC-03:30", -3.5), ("GMT+01:00", 1), ("UTC", 0)]
    )
    def test_names(self, name: str, offset: float) -> None:
        """A zone is a name of the IANA list or an offset."""
        assert datetime(2024, 7, 1, tzinfo=parse_zone(name)).utcoffset() == timedelta(hours=offset)

    @pytest.mark.parametrize(
        "name", ["Mars/Olympus", "", "../../etc/passwd", "+25:00", "+05:99", 3, timezone(timedelta(seconds=1))]
    )
    def test_no_zone(self, name: Any) -> None:
        """What is no zone, or has seconds in its offset, is an error."""
        with pytest.raises(UsageError):
            parse_zone(name)


class TestStreamIds:
    @PROFILE
    @given(st.integers(0, MAX_SEQUENCE), st.integers(0, MAX_SEQUENCE))
    def test_text(self, milliseconds: int, sequence: int) -> None:
        """An id is its text and its numbers."""
        id_ = StreamId(milliseconds, sequence)
        assert StreamId.parse(id_.encode()) == StreamId.parse(str(id_)) == id_

    @pytest.mark.parametrize(
        "text",
        ["", "-", "+", "1-", "-1", "1-2-3", "a-1", "1.5-0", f"{2**64}-0", f"0-{2**64}", "\u0661-\u0662", "1-0\n"],
    )
    def test_no_id(self, text: str) -> None:
        """What is no id is an error that shows one."""
        with pytest.raises(UsageError, match="stream id"):
            StreamId.parse(text)

    def test_behind_9999(self) -> None:
        """An id behind the year 9999 has no datetime."""
        assert to_datetime(LAST_SECOND * 1_000 + 999).year == 9999
        with pytest.raises(DataError, match="9999"):
            to_datetime(LAST_SECOND * 1_000 + 1_000)

"""Files into streams and out of them: Parquet on streams and scans, and what the command line does with all formats."""

import os
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from pyarrow import feather, parquet

from walrus_ts import Database, DataError, LateRowsError, TimeSeriesStream, UsageError
from walrus_ts.files.csv_types import Dialect, find_types, wider
from walrus_ts.files.kinds import kind_of
from walrus_ts.files.load import load_file
from walrus_ts.files.read import open_file
from walrus_ts.files.write import write_file

Key = Callable[..., str]


@pytest.fixture
def new(db: Database, key: Key) -> Callable[[str], TimeSeriesStream]:
    """Make a stream of a name."""

    def make(name: str = "stream") -> TimeSeriesStream:
        return db.time_series("files", [key(name)])[key(name)]

    return make


def rich(rows: int = 6, zone: str | None = "Europe/Oslo") -> pd.DataFrame:
    """Make a frame with a column of many a dtype."""
    index = pd.date_range("2024-01-01", periods=rows, freq="min", unit="us", tz=zone)
    n = np.arange(rows)
    return pd.DataFrame(
        {
            "price": np.where(n % 3, n / 3, np.nan),
            "size": n,
            "maybe": pd.array([None if i % 2 else int(i) for i in n], dtype="Int64"),
            "venue": ["", "x", None] * (rows // 3),
            "side": pd.Categorical(["sell", "buy", None] * (rows // 3), categories=["sell", "buy"], ordered=True),
            "open": n % 2 == 0,
            "raw": [b"\xff\x00", b"", None] * (rows // 3),
            "when": index.tz_localize(None),
        },
        index=index,
    )


def csv_of(folder: Path, text: str, name: str = "file.csv") -> Path:
    """Write a CSV."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# Parquet --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "clock"])
@pytest.mark.parametrize("zone", [None, "Europe/Oslo"])
def test_parquet_round_trip(
    new: Callable[..., TimeSeriesStream], tmp_path: Path, zone: str | None, name: str | None
) -> None:
    """A stream's Parquet file is, to pandas and to another stream, the frame that the stream gives."""
    frame = rich(zone=zone).rename_axis(name)
    stream, other = new("one"), new("other")
    stream.append(frame)
    path = tmp_path / "ticks.parquet"
    assert stream.scan().to_parquet(path) == 6
    assert_frame_equal(pd.read_parquet(path), frame, check_freq=False)
    assert other.load_parquet(path).rows == 6
    assert_frame_equal(other.frame(), frame, check_freq=False)


def test_parquet_of_a_range(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """`to_parquet` writes what the scan names: a range, some columns; of nothing, a file without rows."""
    stream, frame = new(), rich()
    stream.append(frame)
    path = tmp_path / "some.parquet"
    assert stream.scan("2024-01-01 00:02", columns=["side", "size"]).to_parquet(path) == 4
    assert_frame_equal(pd.read_parquet(path), frame.iloc[2:][["side", "size"]], check_freq=False)
    assert stream.scan(stop="2023", columns=["size"]).to_parquet(str(path)) == 0
    assert_frame_equal(pd.read_parquet(path), frame.iloc[:0][["size"]], check_freq=False)


def test_parquet_labels_of_two_types(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Labels that pandas cannot describe in a file become text there; all else is the frame that the stream gives."""
    stream, frame = new(), rich()[["size", "side"]].assign(x=1.0)
    stream.append(frame.rename(columns={"x": 7}))
    stream.scan().to_parquet(tmp_path / "f.parquet")
    assert_frame_equal(pd.read_parquet(tmp_path / "f.parquet"), frame.rename(columns={"x": "7"}), check_freq=False)


def test_parquet_labels_of_two_levels(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Labels of several levels become text, and the index and the dtypes stay."""
    stream, frame = new(), rich()[["size", "side"]]
    stream.append(frame.set_axis(pd.MultiIndex.from_tuples([("a", "size"), ("b", "side")]), axis=1))
    stream.scan().to_parquet(tmp_path / "f.parquet")
    found = pd.read_parquet(tmp_path / "f.parquet")
    assert_frame_equal(found.set_axis(frame.columns, axis=1), frame, check_freq=False)
    assert [type(label) for label in found.columns] == [str, str]


def test_a_failed_export_leaves_what_was_there(
    db: Database, new: Callable[..., TimeSeriesStream], tmp_path: Path
) -> None:
    """A file is replaced only when all is written: of an export that failed there is no trace."""
    stream = new()
    stream.append(rich()[["size"]])
    path = tmp_path / "f.parquet"
    stream.scan().to_parquet(path)
    before = path.read_bytes()
    db.xadd(stream.key, {"size": "n/a"})
    with pytest.raises(DataError, match="'n/a'"):
        stream.scan().to_parquet(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["f.parquet"]


def test_a_replaced_file_keeps_its_mode(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A file that only its owner may read stays one when it is replaced; one that is a link stays a link."""
    stream = new()
    stream.append(rich()[["size"]])
    path, link = tmp_path / "f.parquet", tmp_path / "link.parquet"
    path.write_bytes(b"")
    path.chmod(0o600)
    link.symlink_to(path)
    stream.scan().to_parquet(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(pd.read_parquet(path)) == 6


def test_only_files_are_replaced(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A pipe or a folder is not replaced by a file; a folder that is not there is an error that names the file."""
    stream = new()
    stream.append(rich()[["size"]])
    pipe = tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(UsageError, match=r"is no file but a folder, a pipe or a device"):
            stream.scan().to_parquet(path)
    assert pipe.is_fifo()
    with pytest.raises(FileNotFoundError, match=r"none/f\.parquet'$"):
        stream.scan().to_parquet(tmp_path / "none" / "f.parquet")
    assert list(tmp_path.iterdir()) == [pipe]


def test_the_index_name_is_taken(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Data with a column `time` beside an index without a name make a file that pandas reads as they are."""
    stream, frame = new(), rich()[["size"]].rename(columns={"size": "time"})
    stream.append(frame)
    stream.scan().to_parquet(tmp_path / "f.parquet")
    assert_frame_equal(pd.read_parquet(tmp_path / "f.parquet"), frame, check_freq=False)


def test_load_parquet_without_pandas(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A Parquet file that pandas has not written is appended as the Arrow table in it."""
    times = pd.date_range("2024-01-01", periods=3, freq="h")
    table = pa.table({"a": [1, None, 3], "at": times, "seen": times[::-1], "day": times.date})
    path = tmp_path / "f.parquet"
    parquet.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(UsageError, match=r"expected one column of times in .*, found 'at', 'seen'"):
        new().load_parquet(path)
    assert new().load_parquet(path, time="at").rows == 3
    assert new().frame()["a"].tolist() == [1, pd.NA, 3]
    assert new("days").load_parquet(path, time="day").rows == 3
    assert str(new("days").frame().index[-1]) == "2024-01-01 00:00:00"


@pytest.mark.parametrize("index", ["id", None, ["id", "at"]])
def test_load_parquet_with_another_index(
    new: Callable[..., TimeSeriesStream], tmp_path: Path, index: str | list[str] | None
) -> None:
    """A frame's index of something else than times becomes columns."""
    frame = pd.DataFrame({"id": [7, 30, 8], "at": pd.date_range("2024-01-01", periods=3), "x": [1.5, 2.5, 3.5]})
    path = tmp_path / "f.parquet"
    (frame.set_index(index) if index else frame).to_parquet(path)
    assert new().load_parquet(path).rows == 3
    assert_frame_equal(new().frame(), frame.set_index("at"), check_freq=False)


def test_load_a_partitioned_data_set(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A folder of Parquet files is appended in the order of their paths; the partitions' names are columns."""
    for month in (1, 2):
        folder = tmp_path / f"month={month}"
        folder.mkdir()
        index = pd.date_range(f"2024-0{month}-01", periods=3, freq="D", unit="us")
        pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=index).to_parquet(folder / "part.parquet")
    assert new().load_parquet(tmp_path).rows == 6
    assert new().frame("2024-02")["month"].tolist() == [2, 2, 2]


def test_a_file_of_a_partition(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A file by itself has its own columns, as with pandas, whatever the folders are called that it lies in."""
    path = tmp_path / "month=2" / "f.parquet"
    path.parent.mkdir()
    frame = rich()[["size"]]
    frame.to_parquet(path)
    assert new().load_parquet(path).rows == len(frame)
    assert list(new().frame().columns) == list(pd.read_parquet(path).columns) == ["size"]


def test_a_folder_in_the_order_of_its_numbers(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Partitions whose names are numbers are appended in the order of the numbers: 2 comes before 10."""
    index = pd.date_range("2024-01-01", periods=12, freq="MS", unit="us", name="at")
    frame = pd.DataFrame({"x": range(12), "month": index.month}, index=index)
    frame.to_parquet(tmp_path / "all", partition_cols=["month"])
    assert new().load_parquet(tmp_path / "all").rows == 12
    assert new().frame()["month"].tolist() == list(range(1, 13))


def test_a_folder_of_files_with_other_columns(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Columns that some files of a folder do not have are null in their rows, and none is lost."""
    columns: list[dict[str, Any]] = [{"x": [1, 2]}, {"x": [3, 4], "extra": ["a", "b"]}, {"y": [True, False]}]
    for at, made in enumerate(columns, start=1):
        index = pd.date_range(f"2024-0{at}-01", periods=2, freq="D", unit="us")
        pd.DataFrame(made, index=index).to_parquet(tmp_path / f"{at}.parquet")
    (tmp_path / "README.txt").write_text("Six rows.")  # nothing of a table
    assert new().load_parquet(tmp_path).rows == 6
    frame = new().frame()
    assert frame["x"].tolist() == [1, 2, 3, 4, pd.NA, pd.NA]
    assert frame["extra"].isna().tolist() == [True, True, False, False, True, True]
    assert frame["y"].tolist() == [pd.NA] * 4 + [True, False]


def test_a_folder_of_files_that_contradict_each_other(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """Two types of a column that have none in common are an error that names the file and the column."""
    for at, value in enumerate(("a", 1)):
        index = pd.date_range("2024-01-01", periods=1, unit="us")
        pd.DataFrame({"x": [value]}, index=index).to_parquet(tmp_path / f"{at}.parquet")
    with pytest.raises(DataError, match=r"1\.parquet' does not fit the files before it: .*Field x has"):
        new().load_parquet(tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_memory_is_bounded(tmp_path: Path, ending: str) -> None:
    """A file that is read more slowly than the disk is fast is not held in memory meanwhile."""
    path = tmp_path / f"file.{ending}"
    table = pa.table({"x": np.random.default_rng(0).random(4_000_000)})  # 32 MB
    if ending == "parquet":
        parquet.write_table(table, path, row_group_size=100_000)
    else:
        feather.write_feather(table, path, chunksize=100_000)
    del table
    before, most = pa.total_allocated_bytes(), 0
    for _ in open_file(path).batches():
        sleep(0.01)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 8_000_000


@pytest.mark.parametrize("ending", ["parquet", "feather", "csv"])
def test_a_broken_file(new: Callable[..., TimeSeriesStream], tmp_path: Path, ending: str) -> None:
    """A file that is not what its name says is a `DataError` that names it."""
    path = csv_of(tmp_path, "a,b\n1,2\n1,2,3\n", f"file.{ending}")
    with pytest.raises(DataError, match=f"file.{ending}' cannot be read as"):
        open_file(path)


# Piece by piece -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces of ten rows."""
    monkeypatch.setattr("walrus_ts.files.read.pieces_rows", lambda columns: 10)


def numbers(rows: int) -> pd.DataFrame:
    """Make a frame of a row a second."""
    return pd.DataFrame(
        {"n": range(rows)}, index=pd.date_range("2024-01-01", periods=rows, freq="s", unit="us", name="at")
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_a_named_load_in_pieces(
    new: Callable[..., TimeSeriesStream], tmp_path: Path, small_pieces: None, ending: str
) -> None:
    """A named load of a file is repeated as a whole, wherever it stopped: it stores what is missing, once."""
    stream, frame = new(), numbers(35)
    path = tmp_path / f"file.{ending}"
    if ending == "csv":
        frame.to_csv(path)
    else:
        getattr(frame, f"to_{ending}")(path)
    calls = 0

    def stop(piece: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return stream.append(piece, **options)

    with pytest.raises(KeyboardInterrupt):
        load_file(stop, open_file(path), load="f")
    assert stream.loads().index.tolist() == ["f", "f[10:]"]
    told: list[tuple[int, int]] = []
    done = load_file(stream.append, open_file(path), load="f", progress=lambda *rows: told.append(rows))
    assert (done.rows, len(stream)) == (15, 35)
    assert told[-1] == (35, 35)
    assert load_file(stream.append, open_file(path), load="f").rows == 0
    assert_frame_equal(stream.frame(), frame, check_freq=False)
    assert sorted(stream.loads().index) == ["f", "f[10:]", "f[20:]", "f[30:]"]


def test_an_error_in_a_later_piece(new: Callable[..., TimeSeriesStream], tmp_path: Path, small_pieces: None) -> None:
    """An error in a later piece says from which row on the file's rows are counted, and what is stored."""
    frame = numbers(35)
    frame.index = frame.index[:25].append(frame.index[:10]).rename("at")
    frame.to_parquet(tmp_path / "f.parquet")
    with pytest.raises(UsageError, match="row 5") as caught:
        new().load_parquet(tmp_path / "f.parquet")
    assert caught.value.first_row == 20
    assert caught.value.done.rows == 20
    assert caught.value.__notes__[0].startswith("Rows are counted from row 20 of ")


def test_options_of_append(new: Callable[..., TimeSeriesStream], tmp_path: Path, small_pieces: None) -> None:
    """`load_parquet` takes what `append` takes, and counts over all pieces."""
    stream = new()
    numbers(35).to_parquet(tmp_path / "f.parquet")
    stream.append(numbers(15))
    with pytest.raises(LateRowsError):
        stream.load_parquet(tmp_path / "f.parquet")
    done = stream.load_parquet(tmp_path / "f.parquet", late="skip")
    assert (done.rows, done.skipped) == (21, 14)
    assert (done.first_id, done.last_id) == ("1704067214000-1", "1704067234000-0")


# CSV ------------------------------------------------------------------------------------------------------------------


def test_csv_dtypes(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A CSV's columns get pandas' dtypes, and nullable ones where integers or bools have nulls."""
    path = csv_of(
        tmp_path,
        "at,i,I,f,b,B,s,day,none\n"
        '2024-01-01 09:30,1,,1,true,,"",2024-01-01,\n'
        "2024-01-01T09:30:00.5,2,7,1.5,false,true,,2024-01-02,\n",
    )
    assert load_file(new().append, open_file(path), time="at").rows == 2
    frame = new().frame()
    text = str(pd.Series(["x"]).dtype)  # str, and with pandas 2 object
    assert frame.index.tolist() == [pd.Timestamp("2024-01-01 09:30"), pd.Timestamp("2024-01-01 09:30:00.5")]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "i": "int64",
        "I": "Int64",
        "f": "float64",
        "b": "bool",
        "B": "boolean",
        "s": text,
        "day": "date32[day][pyarrow]",
        "none": text,
    }
    assert frame["s"].tolist()[0] == ""
    assert frame["s"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("1", "1.5", pa.float64()),
        ("1", "x", pa.string()),
        ("1", 'say ""x""', pa.string()),
        ("1", "99999999999999999999", pa.string()),
        ("", "1", pa.int64()),
        ("", "", pa.string()),
        ("true", "1", pa.string()),
        ("2024-01-01", "2024-01-01 09:30", pa.timestamp("us")),
        ("2024-01-01 09:30", "2024-01-01 09:30:00.25", pa.timestamp("us")),
        ("2024-01-01 09:30:00.25", "2024-01-01 09:30:00.123456789", pa.timestamp("ns")),
        ("2024-01-01 09:30", "2024-01-01 09:30Z", pa.string()),
        ("2024-01-01 09:30Z", "2024-01-01 09:30+0100", pa.timestamp("us", "UTC")),
    ],
)
def test_csv_types_fit_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, last: str, expected: pa.DataType
) -> None:
    """A column's type fits all rows of the file, also those far behind its beginning."""
    monkeypatch.setattr("walrus_ts.files.csv_types._BLOCK_BYTES", 1_000)
    path = csv_of(
        tmp_path, "k,v\n" + f'0,"{first}"\n'.replace('""', "") * 500 + f'1,"{last}"\n'.replace(',""\n', ",\n")
    )
    found = find_types(path)
    assert found.types == {"k": pa.int64(), "v": expected}
    assert found.rows == 501
    assert next(open_file(path).batches()).num_rows < 500


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2024-01-01T00:00:00.123456789Z"], pa.timestamp("ns", "UTC")),
        (["2024-01-01T00:00Z", "2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00.123456789Z"], pa.timestamp("ns", "UTC")),
        (["2024-01-01T00:00:00.123456789Z", "3000-01-01T00:00Z"], pa.string()),  # no type of times holds both
    ],
)
def test_csv_with_nanoseconds(tmp_path: Path, times: list[str], expected: pa.DataType) -> None:
    """Times with nanoseconds are found wherever they stand, at the very beginning, too."""
    assert find_types(csv_of(tmp_path, "\n".join(["at", *times, ""]))).types == {"at": expected}


def test_wider_is_symmetric() -> None:
    """Two types widen to one, whichever comes first."""
    kinds = [
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.date32(),
        pa.timestamp("s"),
        pa.timestamp("s", "UTC"),
    ]
    assert [(a, b) for a in kinds for b in kinds if wider(a, b) != wider(b, a)] == []


def test_csv_compressed(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A CSV may be compressed, as its name says."""
    numbers(20).to_csv(tmp_path / "f.csv.gz")
    assert load_file(new().append, open_file(tmp_path / "f.csv.gz")).rows == 20
    assert_frame_equal(new().frame(), numbers(20), check_freq=False)


@pytest.mark.parametrize(
    ("text", "time", "message"),
    [
        ("a,b\n1,2\n", None, "expected one column of times in .*, found none. Its columns: 'a' .int64., 'b' .int64."),
        ("a,b\n1,2\n", "c", "has no column 'c'; it has 'a', 'b'"),
        ("a,b\n31/01/2024,2\n", "a", "column 'a' of .* holds string, and not times such as 2024-01-31T09:30:00Z"),
    ],
)
def test_csv_without_times(tmp_path: Path, text: str, time: str | None, message: str) -> None:
    """A file whose column of times is not to be found is an error that says which columns there are."""
    with pytest.raises(UsageError, match=message):
        open_file(csv_of(tmp_path, text)).time_column(time)


def test_csv_of_another_dialect(
    new: Callable[..., TimeSeriesStream], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CSV may have another separator, a decimal comma, and times that are written in another way."""
    monkeypatch.setattr("walrus_ts.files.csv_types._BLOCK_BYTES", 60)  # the first block has but integers
    lines = ["Zeit;Preis;Seite", *["28.10.2023 09:00;7;K"] * 9, "28.10.2023 09:00;1234,5;", "05.11.2023 17:30;n/a;V"]
    path = csv_of(tmp_path, "\n".join(lines))
    source = open_file(path, Dialect(";", ",", "%d.%m.%Y %H:%M"))
    assert load_file(new().append, source).rows == 11
    expected = pd.DataFrame(
        {"Preis": [*[7.0] * 9, 1234.5, None], "Seite": pd.Series([*["K"] * 9, None, "V"], dtype="str").tolist()},
        index=pd.DatetimeIndex([*["2023-10-28 09:00"] * 10, "2023-11-05 17:30"], name="Zeit").as_unit("us"),
    )
    assert_frame_equal(new().frame(), expected, check_freq=False)


@pytest.mark.parametrize(("separator", "typed"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
@pytest.mark.parametrize("row", ["2024-01-01{0}1,5", "2024-01-01{0}1"])
def test_csv_with_a_separator_that_nobody_named(tmp_path: Path, separator: str, typed: str, row: str) -> None:
    """Where the separator seems to be another one, the error says how to name it."""
    path = csv_of(tmp_path, f"at{separator}x\n{row.format(separator)}\n")
    with pytest.raises(
        (DataError, UsageError), match=f"Is .* the separator. On the command line that is: --sep {typed}"
    ):
        open_file(path).time_column()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((";;",), "the separator of a CSV is one character.*';;'"),
        ((";", ""), "the decimal of a CSV is one character"),
        (("1",), "the separator"),
        ((",", ","), "two characters; found ',' for both"),
    ],
)
def test_no_dialect(given: tuple[str, ...], message: str) -> None:
    """What cannot stand between values or before a fraction is an error."""
    with pytest.raises(UsageError, match=message):
        Dialect(*given)


def test_only_a_csv_has_a_dialect(tmp_path: Path) -> None:
    """A separator for a Parquet file is an error."""
    numbers(2).to_parquet(tmp_path / "f.parquet")
    with pytest.raises(UsageError, match="is no CSV"):
        open_file(tmp_path / "f.parquet", Dialect(";"))


def test_csv_columns_of_one_name(tmp_path: Path) -> None:
    """A CSV with two columns of one name is a `DataError`."""
    with pytest.raises(DataError, match="two columns 'a'"):
        open_file(csv_of(tmp_path, "a,a\n1,2\n"))


def test_an_unknown_ending(tmp_path: Path) -> None:
    """A name that does not say what a file is, is an error that lists the endings there are."""
    with pytest.raises(UsageError, match=r"ends in .csv, .parquet, .pq, .feather, .arrow, .ipc, or .csv.gz"):
        open_file(tmp_path / "file.xls")


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "CSV.BZ2", "feather"])
def test_written_files_load_again(new: Callable[..., TimeSeriesStream], tmp_path: Path, ending: str) -> None:
    """What is written as CSV or Feather loads into an equal stream; of a CSV, as far as CSV has types."""
    frame = rich().drop(columns=[] if ending == "feather" else ["side", "raw"]).rename_axis("at")
    stream, other = new("one"), new("other")
    stream.append(frame)
    path = tmp_path / f"f.{ending}"
    kind = kind_of(path)
    assert write_file(stream.scan(), path, kind, stream.frame(limit=0)) == 6
    load_file(other.append, open_file(path), time="at")
    found = other.frame()
    if kind == "csv":
        found = found.tz_convert("Europe/Oslo")
    else:
        assert feather.read_table(path).num_rows == 6
    assert_frame_equal(found, frame, check_freq=False)


def test_csv_has_no_lists(new: Callable[..., TimeSeriesStream], tmp_path: Path) -> None:
    """A column of lists cannot be written as CSV, and the error names it."""
    stream = new()
    stream.append(pa.table({"at": pd.to_datetime(["2024-01-01"]), "x": [[1, 2]]}))
    with pytest.raises(UsageError, match=r"column 'x' holds list<.*>, which CSV does not have"):
        write_file(stream.scan(), tmp_path / "f.csv", "csv", stream.frame(limit=0))

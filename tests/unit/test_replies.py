"""Replies of the server as columns: the same that hiredis reads, whatever bytes the values have."""

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replies import Entry, bulk, encoded, oracle, plain, rows, streams_as_table, view
from walrus_ts.columnar import resp
from walrus_ts.columnar.entries import Entries
from walrus_ts.columnar.grid import Grid
from walrus_ts.columnar.replies import EntriesReply, from_objects, parse_streams

Parse = Callable[[memoryview, Sequence[bytes]], dict[bytes, EntriesReply]]

TRICKY = [b"", b"*2", b"$5", b"*-1", b"$-1", b"a\r\nb", b"\r\n", b"\n", b"\r", b"*2\r\n$3\r\n1-1\r\n*2", b"\x00\xff"]
SIZES = st.sampled_from([3, 4, 5, 12, 13, 999, 1_000, 1_001, 9_999, 70_000])
PROFILE = settings(derandomize=True, deadline=None, max_examples=150)

values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(TRICKY),
    st.builds(lambda n, b: b * n, SIZES, st.sampled_from([b"x", b"\n"])),
)
names = st.one_of(st.sampled_from([b"price", b"volume", b"", b"*2", b"a\r\nb"]), st.binary(max_size=6))
numbers = st.one_of(st.integers(0, 12), st.integers(10**12, 10**13 - 1), st.integers(0, 2**64 - 1))
ids = st.one_of(
    st.builds(b"%d-%d".__mod__, st.tuples(st.integers(10**12, 10**13 - 1), st.integers(0, 12))),
    st.builds(b"%d-%d".__mod__, st.tuples(numbers, numbers)),
)


@st.composite
def regular(draw: st.DrawFn) -> list[Entry]:
    """Make entries of one shape, as a frame's are; now and then a field is missing, or stands elsewhere."""
    fields = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    entries: list[Entry] = []
    for id_ in draw(st.lists(ids, max_size=8)):
        own = draw(st.one_of(st.just(fields), st.permutations(fields), st.lists(st.sampled_from(fields), min_size=1)))
        entries.append((id_, [part for name in own for part in (name, draw(values))]))
    return entries


@st.composite
def irregular(draw: st.DrawFn) -> list[Entry]:
    """Make entries that have nothing in common; some were deleted while they were pending."""
    pairs = st.lists(st.tuples(names, values), max_size=4).map(lambda found: [part for pair in found for part in pair])
    return draw(st.lists(st.tuples(ids, st.none() | pairs), max_size=8))


entries = regular() | irregular()


class TestEntries:
    @PROFILE
    @given(entries, st.lists(names, max_size=4, unique=True))
    def test_columns_hold_what_hiredis_reads(self, found: list[Entry], fields: list[bytes]) -> None:
        """Columns hold what hiredis reads, whichever fields were expected."""
        data = encoded(found)
        reply = EntriesReply(view(data))
        columns = reply.entries(fields)
        assert rows(columns) == oracle(data)
        assert list(columns.columns)[: len(fields)] == fields
        assert len(reply) == len(found)
        assert reply.ids() == [id_ for id_, _ in found]

    @PROFILE
    @given(entries)
    def test_last_id(self, found: list[Entry]) -> None:
        """A reply's last id is that of its last entry."""
        if found:
            assert EntriesReply(view(encoded(found))).last_id.encode() == found[-1][0]

    @PROFILE
    @given(entries, st.sets(names))
    def test_only_what_is_wanted(self, found: list[Entry], chosen: set[bytes]) -> None:
        """Of the fields, only those that are wanted become columns."""
        columns = EntriesReply(view(encoded(found))).entries((), chosen.__contains__)
        expected = {name for _, fields in found for name in (fields or [])[::2]} & chosen
        assert set(columns.columns) == expected

    @PROFILE
    @given(entries)
    def test_filter(self, found: list[Entry]) -> None:
        """Filtering keeps the rows of the mask, and their values."""
        columns = EntriesReply(view(encoded(found))).entries()
        chosen = columns.milliseconds % 2 == 0
        assert rows(columns.filter(chosen)) == [row for row, keep in zip(rows(columns), chosen, strict=True) if keep]

    def test_one_shape_of_many_rows(self) -> None:
        """Ten thousand rows of one shape are read as they were written."""
        found: list[Entry] = [
            (b"%d-%d" % (1_700_000_000_000 + n, n << 40), [b"a", b"%d" % n, b"b", b"x" * (n % 30)])
            for n in range(10_000)
        ]
        assert rows(EntriesReply(view(encoded(found))).entries([b"a", b"b"])) == oracle(encoded(found))

    @pytest.mark.parametrize(
        ("values", "is_grid"),
        [([b"1.5", b""], True), ([b"*2", b"$1"], True), ([b"a\nb", b"\r"], True), ([b"a\r\nb", b"x"], False)],
    )
    def test_entries_of_the_same_fields_are_a_grid(self, values: list[bytes], *, is_grid: bool) -> None:
        """Entries of the same fields are read as a grid, which is the fast way, unless a value has a line's end."""
        found: list[Entry] = [(b"%d-0" % n, [b"a", values[n % 2], b"long name", b"x" * n]) for n in range(40)]
        reply = EntriesReply(view(encoded(found)))
        assert rows(reply.entries([b"long name", b"none"])) == oracle(encoded(found))
        assert isinstance(getattr(reply, "_table", None), Grid) is is_grid

    def test_a_value_that_reads_like_the_entry_behind_it(self) -> None:
        """The ids are those of the entries, also before columns are made of them."""
        value = b"x\r\n*2\r\n$3\r\n9-9\r\n*4"
        data = view(encoded([(b"1-1", [b"a", value]), (b"1-2", [b"a", b"v"])]))
        assert EntriesReply(data).ids() == [b"1-1", b"1-2"]
        assert EntriesReply(data).last_id == (1, 2)

    @pytest.mark.parametrize("count", [199, 200, 201, 1_000])
    def test_very_many_fields(self, count: int) -> None:
        """Every entry may have fields of its own, any number of them."""
        found: list[Entry] = [(b"1-%d" % n, [b"f%d" % n, b"v"]) for n in range(count)]
        assert rows(EntriesReply(view(encoded(found))).entries()) == oracle(encoded(found))

    def test_more_than_ten_million_fields_are_counted(self) -> None:
        """An entry's count may have any number of digits."""
        with pytest.raises(ValueError):
            EntriesReply(view(b"*1\r\n*2\r\n$3\r\n1-1\r\n*10000000\r\n")).entries()


class TestBrokenReplies:
    @PROFILE
    @given(entries, st.data())
    def test_truncated(self, found: list[Entry], data: st.DataObject) -> None:
        """A reply that ends too early is an error."""
        whole = encoded(found)
        length = data.draw(st.integers(0, len(whole) - 1))
        with pytest.raises(ValueError):
            EntriesReply(view(whole[:length])).entries()

    @settings(PROFILE, max_examples=600)
    @given(regular(), st.data())
    def test_corrupted(self, found: list[Entry], data: st.DataObject) -> None:
        """A reply with a wrong byte is an error, or read as hiredis reads it."""
        whole = bytearray(encoded(found))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, min(len(whole) - 1, 300)))
            whole[at] = data.draw(st.sampled_from(b"*$-0129+x\r\n:"))
        try:
            expected = oracle(bytes(whole))
        except ValueError:
            with pytest.raises(ValueError):
                EntriesReply(view(bytes(whole))).entries([b"price"])
        else:
            assert rows(EntriesReply(view(bytes(whole))).entries([b"price"])) == expected

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\r\n",
            b"\n",
            b"*-1\r\n",
            b"$-1\r\n",
            b":1\r\n",
            b"+OK\r\n",
            b"*0\r\n*0\r\n",
            b"*00\r\n",
            b"%1\r\n*0\r\n:1\r\n",
            b"*1\r\n*-1\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*0\r\n",
            b"*1\r\n*2\r\n:1\r\n*0\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n:0\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n$1\r\na\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$-1\r\n",
            b"*1\r\n*2\r\n$3\r\n1-x\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$15\r\n1700000000000-x\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$18\r\n1700000000000-0x1f\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$18\r\n1700000000000-0X1f\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$15\r\n0X1F567890123-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$15\r\n17000000000 0-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        ],
    )
    def test_no_reply_of_this_kind(self, data: bytes) -> None:
        """What is no reply of entries is an error."""
        with pytest.raises(ValueError):
            EntriesReply(view(data)).entries([b"a"])

    @pytest.mark.parametrize(
        "data",
        [
            b"*1000000000\r\n",
            b"*1\r\n*1000000000\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n*1000000000\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1000000000\r\nb\r\n",
        ],
    )
    def test_more_is_announced_than_comes(self, data: bytes) -> None:
        """A reply that announces very much takes no more memory than what comes."""
        tracemalloc.start()
        for read in (resp.parse, lambda data: EntriesReply(view(data)).entries(), stream_of):
            with pytest.raises(ValueError):
                read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_a_value_that_announces_much(self) -> None:
        """A value that reads so is a value."""
        found: list[Entry] = [(b"1-1", [b"a\r\n", b"*1000000000\r\n"])]
        assert rows(EntriesReply(view(encoded(found))).entries()) == oracle(encoded(found))


def stream_of(data: bytes) -> Entries:
    """Read the same reply as that to an XREADGROUP of one stream."""
    return parse_streams(view(b"*1\r\n*2\r\n$1\r\nk\r\n" + data), [b"k"])[b"k"].entries()


@pytest.mark.parametrize("parse", [parse_streams, streams_as_table])
class TestStreams:
    @PROFILE
    @given(st.dictionaries(names, entries.filter(bool), max_size=4), st.data())
    def test_each_stream_has_its_entries(
        self, parse: Parse, streams: dict[bytes, list[Entry]], data: st.DataObject
    ) -> None:
        """Each stream of an XREADGROUP has its entries; those without any are left out."""
        keys = list(streams)
        asked = list(dict.fromkeys([*keys, *data.draw(st.lists(names, max_size=2))]))
        if not keys:
            assert parse(view(b"*-1\r\n"), asked) == {}
            return
        reply = b"*%d\r\n" % len(keys)
        reply += b"".join(b"*2\r\n" + bulk(key) + encoded(found) for key, found in streams.items())
        parsed = parse(view(reply), asked)
        assert {key: rows(part.entries()) for key, part in parsed.items()} == {
            key: oracle(encoded(found)) for key, found in streams.items()
        }

    def test_a_value_that_looks_like_a_stream(self, parse: Parse) -> None:
        """A value that reads like another stream's reply stays a value."""
        value = (b"*2\r\n" + bulk(b"a") + encoded([(b"1-1", [b"f", b"v"])]))[:-2]
        reply = b"*1\r\n*2\r\n" + bulk(b"b") + encoded([(b"5-0", [b"g", value])])
        parsed = parse(view(reply), [b"a", b"b"])
        assert {key: rows(part.entries()) for key, part in parsed.items()} == {b"b": [(b"5-0", {b"g": value})]}

    def test_a_value_that_swallows_the_next_stream(self, parse: Parse) -> None:
        """A value that reads like the head of the stream behind it stays a value, however well it is made."""
        behind = b"*2\r\n" + bulk(b"b") + encoded([(b"7-0", [b"g", b"w"])])
        lines = behind.count(b"\r\n") + 1
        forged = b"*2\r\n" + bulk(b"b") + b"*1\r\n*2\r\n$3\r\n1-1\r\n*%d\r\n" % (lines // 2)
        value = b"abc\r\n" + forged + b"$0\r\n" * (lines % 2)
        reply = b"*2\r\n*2\r\n" + bulk(b"a") + encoded([(b"5-0", [b"g", value])]) + behind
        parsed = parse(view(reply), [b"a", b"b"])
        assert {key: rows(part.entries()) for key, part in parsed.items()} == {
            b"a": [(b"5-0", {b"g": value})],
            b"b": [(b"7-0", {b"g": b"w"})],
        }

    @PROFILE
    @given(st.dictionaries(st.sampled_from([b"a", b"b"]), regular().filter(bool), min_size=1), st.data())
    def test_truncated(self, parse: Parse, streams: dict[bytes, list[Entry]], data: st.DataObject) -> None:
        """A reply that ends too early is an error."""
        reply = b"*%d\r\n" % len(streams)
        reply += b"".join(b"*2\r\n" + bulk(key) + encoded(found) for key, found in streams.items())
        length = data.draw(st.integers(3, len(reply) - 1))
        with pytest.raises(ValueError):
            [part.entries() for part in parse(view(reply[:length]), [b"a", b"b"]).values()]

    @pytest.mark.parametrize("key", [b"*0\r\n", b":1\r\n", b"$-1\r\n"])
    def test_a_key_that_is_none(self, parse: Parse, key: bytes) -> None:
        """A stream's key is text."""
        with pytest.raises(ValueError):
            parse(view(b"*1\r\n*2\r\n" + key + encoded([(b"1-1", [b"a", b"b"])])), [b"a"])


class TestObjects:
    @PROFILE
    @given(entries)
    def test_parsed_entries_become_the_same_columns(self, found: list[Entry]) -> None:
        """Entries that are parsed already become the columns that their bytes become."""
        objects = [[id_, fields] for id_, fields in found]
        assert rows(from_objects(objects)) == oracle(encoded(found))
        assert rows(EntriesReply.of(objects).entries()) == oracle(encoded(found))


replies = st.recursive(
    st.one_of(
        values.map(bulk),
        st.just(b"$-1\r\n"),
        st.just(b"*-1\r\n"),
        st.just(b"+OK\r\n"),
        st.integers(-(2**63), 2**63 - 1).map(b":%d\r\n".__mod__),
        st.sampled_from([b"-ERR no such key\r\n", b"-WRONGTYPE Op\xff\r\n"]),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: b"*%d\r\n" % len(items) + b"".join(items)),
    max_leaves=12,
)


class TestParsers:
    @PROFILE
    @given(st.lists(replies, max_size=5))
    def test_both_parsers_read_the_same(self, parts: list[bytes]) -> None:
        """The parser without hiredis reads what hiredis reads."""
        data = b"".join(parts)
        assert plain(resp._parse_all(data)) == plain(resp._parse_hiredis(data))
        assert len(resp.parse(data)) == len(parts)

    @PROFILE
    @given(st.lists(replies, min_size=1, max_size=3), st.data())
    def test_truncated(self, parts: list[bytes], data: st.DataObject) -> None:
        """Both parsers refuse replies that end too early, unless they end between two."""
        whole = b"".join(parts)
        part = whole[: data.draw(st.integers(0, len(whole)))]
        results = []
        for parser in (resp._parse_all, resp._parse_hiredis):
            try:
                results.append(plain(parser(part)))
            except ValueError:
                results.append(None)
        assert results[0] == results[1]

    @pytest.mark.parametrize("parser", [resp._parse_all, resp._parse_hiredis])
    @pytest.mark.parametrize(
        "data",
        [
            b"x",
            b"*-0\r\n",
            b"*01\r\n",
            b":9223372036854775808\r\n",
            b"+a\rb\r\n",
            b"%1\r\n*0\r\n:1\r\n",
            b"?1\r\n",
            b"$x\r\n",
            b"*1_0\r\n",
            b"$+1\r\na\r\n",
            b"*1\r\n" * 5_000,
            b"$3\r\nab",
            b"*2\r\n:1\r\n",
        ],
    )
    def test_no_resp(self, parser: Any, data: bytes) -> None:
        """What is no RESP2 is an error."""
        with pytest.raises(ValueError):
            parser(data)

"""Arrow's types: how many bytes their arrays take."""

import pyarrow as pa
import pytest

from walrus_ts.columnar.types import size_of

TEXTS = pa.array(["x" * 40] * 1_000)


@pytest.mark.parametrize(
    "array",
    [
        TEXTS,
        TEXTS.cast(pa.string_view()),
        TEXTS.cast(pa.binary()).cast(pa.binary_view()),
        pa.array(["x"] * 1_000).cast(pa.string_view()),
        pa.array(["x", None] * 500).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string_view())),
    ],
    ids=lambda array: str(array.type),
)
def test_size(array: pa.Array) -> None:
    """A slice takes its part of what the whole takes, of views as well; chunks take what they take together."""
    whole = size_of(array)
    assert whole >= array.get_total_buffer_size() - 8  # which pads the bits of nulls
    assert size_of(array[:100]) == pytest.approx(whole / 10, rel=0.2)
    assert size_of(pa.chunked_array([array[:100], array[100:]])) == pytest.approx(whole, rel=0.02)
    assert size_of(array[:0]) <= 20

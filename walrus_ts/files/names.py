"""A name for the load of a file, by which the same file is known again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

_END_BYTES = 64 << 10  # of a file's beginning and of its end


def load_name(path: Path) -> str:
    """Name the load of a file after it: ``june.csv@1b9f0c62d7e4``.

    What stands behind the name is made of the file's size and its two ends. So a copy has the same name, and a file
    that has grown, or another one of that name, has not; reading all of a large one would take as long as loading it.
    Of a folder it is made of the files in it.

    Raises
    ------
    OSError
        It cannot be read.
    """
    digest = blake2b(digest_size=6)
    for part in _parts(path):
        digest.update(len(part).to_bytes(8, "little") + part)
    name = os.fsencode(path.resolve().name).decode(errors="replace")  # a load's name is valid Unicode
    return f"{name}@{digest.hexdigest()}"


def _parts(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        for found in sorted(path.rglob("*")):
            if found.is_file():
                yield os.fsencode(found.relative_to(path))
                yield from _parts(found)
        return
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        yield file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        yield file.read(_END_BYTES)

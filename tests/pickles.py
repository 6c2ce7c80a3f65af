"""A search for pickles in files, and in what lies packed in them."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from io import BytesIO

import srsly

from clinical_ner.pipeline.saving import leaves


def pickles_in(name: str, data: bytes) -> Iterator[str]:
    """Where a pickle is: in data itself, in members of an archive, in msgpack or in an array."""
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from pickles_in(f"{name}/{member}", archive.read(member))
    elif _is_pickle(data) or (data.startswith(b"\x93NUMPY") and b"|O" in data[:200]):
        yield name
    else:
        try:
            packed = srsly.msgpack_loads(data)
        except Exception:
            return
        for leaf in leaves(packed) if isinstance(packed, dict | list) else ():
            if isinstance(leaf, bytes):
                yield from pickles_in(f"{name}:packed", leaf)


def _is_pickle(data: bytes) -> bool:
    if data[:1] != b"\x80" or data[1:2] > b"\x05":
        return False
    try:
        return len(list(pickletools.genops(data))) > 1
    except ValueError:
        return False

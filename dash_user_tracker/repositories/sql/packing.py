"""Columns of whole numbers as bytes, small and quick to read.

A packed value is a list of groups, each compressed by itself, so that a question unpacks those it needs. A group is a
list of columns; each is kept in the fewest bytes that hold the largest of its numbers, in little-endian order.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Numbers of a column; a packed one is of a shorter type than the others.
Ints = npt.NDArray[np.int64]
Column = npt.NDArray[np.integer]

_LENGTH = struct.Struct("<I")
_TYPES = {
    code: (np.dtype(name), least, most)
    for code, name, least, most in (
        (b"B", "<u1", 0, 1 << 8),
        (b"H", "<u2", 0, 1 << 16),
        (b"I", "<u4", 0, 1 << 32),
        (b"i", "<i4", -(1 << 31), 1 << 31),
        (b"q", "<i8", -(1 << 63), 1 << 63),
    )
}


def pack(groups: Sequence[Sequence[Ints]]) -> bytes:
    """The groups of columns as one value."""
    packed = [zlib.compress(b"".join(map(_column, columns)), 1) for columns in groups]
    return bytes((len(packed),)) + b"".join(_LENGTH.pack(len(one)) for one in packed) + b"".join(packed)


def unpack(value: bytes, group: int = 0) -> list[Column]:
    """The columns of one group."""
    raw = _raw(value, group)
    columns: list[Column] = []
    place = 0
    while place < len(raw):
        kind, place, end = _next(raw, place)
        columns.append(np.frombuffer(raw, kind, (end - place) // kind.itemsize, place))
        place = end
    return columns


def unpack_columns(value: bytes, *columns: int) -> list[Column]:
    """Those columns of the first group, in rising order, without a look at the others."""
    raw, place, number = _raw(value, 0), 0, 0
    found: list[Column] = []
    for column in columns:
        while number < column:
            place = _next(raw, place)[2]
            number += 1
        kind, begin, end = _next(raw, place)
        found.append(np.frombuffer(raw, kind, (end - begin) // kind.itemsize, begin))
    return found


def _raw(value: bytes, group: int) -> bytes:
    place = 1 + _LENGTH.size * value[0]
    (length,) = _LENGTH.unpack_from(value, 1)
    for number in range(1, group + 1):
        place += length
        (length,) = _LENGTH.unpack_from(value, 1 + _LENGTH.size * number)
    return zlib.decompress(value[place : place + length])


def _next(raw: bytes, place: int) -> tuple[np.dtype[Any], int, int]:
    """Type, beginning and end of the column at *place*."""
    (length,) = _LENGTH.unpack_from(raw, place + 1)
    return _TYPES[raw[place : place + 1]][0], place + 5, place + 5 + length


def _column(numbers: Ints) -> bytes:
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    code = next(code for code, (_, least, most) in _TYPES.items() if least <= low and high < most)
    raw = numbers.astype(_TYPES[code][0]).tobytes()
    return code + _LENGTH.pack(len(raw)) + raw

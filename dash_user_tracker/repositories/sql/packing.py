"""Tables of numbers and sets of numbers as bytes, small and quick to read.

A packed value is a list of parts. Each is a *table* (a key and some numbers in each row) or *sets* (a set of
numbers for each key).
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence

#: Columns of a table: the keys, then the numbers.
Columns = Sequence[Sequence[int]]

_SWAP = sys.byteorder == "big"
_COUNT = struct.Struct("<I")


def pack(parts: Iterable[bytes]) -> bytes:
    """The parts as one value."""
    found = list(parts)
    head = _COUNT.pack(len(found)) + b"".join(_COUNT.pack(len(part)) for part in found)
    return zlib.compress(head + b"".join(found), 1)


def unpack(value: bytes) -> list[bytes]:
    """The parts of a value."""
    raw = zlib.decompress(value)
    (count,) = _COUNT.unpack_from(raw)
    place, parts = 4 + 4 * count, []
    for number in range(count):
        (length,) = _COUNT.unpack_from(raw, 4 + 4 * number)
        parts.append(raw[place : place + length])
        place += length
    return parts


def pack_table(table: Mapping[int, Sequence[int]], width: int) -> bytes:
    """A table whose rows have *width* numbers beside the key; rows of nothing but 0 are left out."""
    rows = [(key, *numbers) for key, numbers in sorted(table.items()) if any(numbers)]
    columns = list(zip(*rows)) if rows else [()] * (width + 1)
    # Small numbers in the fewest bytes that hold the largest of a column.
    return b"".join(_column(column) for column in columns)


def unpack_table(part: bytes) -> list[array[int]]:
    """The columns of a table."""
    columns, place = [], 0
    while place < len(part):
        code = chr(part[place])
        (length,) = _COUNT.unpack_from(part, place + 1)
        column = array(code)
        column.frombytes(part[place + 5 : place + 5 + length])
        if _SWAP:
            column.byteswap()
        columns.append(column)
        place += 5 + length
    return columns


def sum_of(part: bytes, number: int) -> int:
    """The sum of one column of a table, without a look at the others; the keys are column 0."""
    place = 0
    for _ in range(number):
        if place >= len(part):
            return 0
        place += 5 + _COUNT.unpack_from(part, place + 1)[0]
    (length,) = _COUNT.unpack_from(part, place + 1)
    column = array(chr(part[place]))
    column.frombytes(part[place + 5 : place + 5 + length])
    if _SWAP:
        column.byteswap()
    return sum(column)


def pack_sets(sets: Mapping[int, Iterable[int]]) -> bytes:
    """Sets of numbers of at least 0, by key."""
    keys = sorted(key for key, own in sets.items() if own)
    sizes, members = [], []
    for key in keys:
        own = sorted(sets[key])
        sizes.append(len(own))
        members += own
    return b"".join(map(_column, (keys, sizes, members)))


def unpack_sets(part: bytes) -> Iterable[tuple[int, array[int]]]:
    """Each key with its members."""
    keys, sizes, members = unpack_table(part)
    place = 0
    for key, size in zip(keys, sizes):
        yield key, members[place : place + size]
        place += size


def pack_bits(bits: int) -> bytes:
    """A set of numbers, each of which is the number of a bit that is 1."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def unpack_bits(part: bytes) -> int:
    """The bits behind `pack_bits`."""
    return int.from_bytes(part, "little")


def bits_of(numbers: Iterable[int]) -> int:
    """The set of *numbers* as bits."""
    found = set(numbers)
    if not found:
        return 0
    raw = bytearray((max(found) >> 3) + 1)
    for number in found:
        raw[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(raw, "little")


def numbers_of(bits: int) -> list[int]:
    """The numbers in a set of bits."""
    found = []
    for index, byte in enumerate(pack_bits(bits)):
        while byte:
            low = byte & -byte
            found.append((index << 3) + low.bit_length() - 1)
            byte ^= low
    return found


def count_bits(bits: int) -> int:
    """How many numbers are in the set; `int.bit_count` came with Python 3.10."""
    return bin(bits).count("1")


def _column(numbers: Sequence[int]) -> bytes:
    low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
    code = next(
        code
        for code, least, most in (
            ("B", 0, 1 << 8),
            ("H", 0, 1 << 16),
            ("I", 0, 1 << 32),
            ("i", -(1 << 31), 1 << 31),
            ("q", -(1 << 63), 1 << 63),
        )
        if least <= low and high < most
    )
    column = array(code, numbers)
    if _SWAP:
        column.byteswap()
    raw = column.tobytes()
    return code.encode() + _COUNT.pack(len(raw)) + raw

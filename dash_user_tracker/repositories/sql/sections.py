"""What is counted of one segment, in tables and sets, and how counts of several periods become one.

A segment is an app, automated clients apart. Pages, people and callbacks are numbers of labels; 0 stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from .histogram import BUCKETS
from .packing import Column, Ints, pack, unpack

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
#: What is many numbers for each segment is counted by quarters of a day, the rest by hours.
QUARTER = 6 * HOUR
QUARTERS = DAY // QUARTER

#: Of what was never: before all moments.
NEVER = np.iinfo(np.int64).min

#: A range of microseconds, half open.
Range = tuple[int, int]

#: A set is kept as pairs: ``key << MEMBER_BITS | member``.
MEMBER_BITS = 32


@attrs.frozen
class Section:
    """One table or family of sets.

    In a table each key has *sums* and, behind them, *lasts*: of a period made of others the sums and the latest. The
    first *light* of the numbers are unpacked without the others. Without numbers it is a set of members for each key.

    Those by hours are kept by days; their key is ``hour * span + key``. A *log* has a row for each event, in order of
    its key and its first number: the microseconds of its hour, and `event.seq`; its numbers are no sums.
    """

    number: int
    sums: int = 0
    lasts: int = 0
    light: int = 0
    hourly: bool = False
    span: int = 1
    log: bool = False

    @property
    def is_sets(self) -> bool:
        return not self.sums

    @property
    def length(self) -> int:
        """Microseconds of the shortest period that is kept."""
        return DAY if self.hourly else QUARTER


TOTALS = Section(0, sums=10, hourly=True)
PEOPLE = Section(1, hourly=True)
VISITORS = Section(2, hourly=True)
VIEWERS = Section(3, hourly=True)  # who viewed a page, anonymous too
LATENCY = Section(4, sums=1, hourly=True, span=BUCKETS)
STAYS = Section(5, sums=1, hourly=True, span=BUCKETS)  # how long visits were
PAGES = Section(6, sums=2, lasts=1, light=2)
PATHS = Section(7, sums=2, lasts=1, light=2)  # only where it differs from `PAGES`
PAGE_PEOPLE = Section(8)
PAGE_VISITORS = Section(9)
PATH_PEOPLE = Section(10)  # as `PATHS`
PATH_VISITORS = Section(11)
USERS = Section(12, sums=4, lasts=1, light=4)
CALLBACKS = Section(13, sums=10, lasts=1, light=7)
RUNS = Section(14, sums=1)  # key: callback * BUCKETS + bucket
CALLBACK_PEOPLE = Section(15)
CALLBACK_VISITORS = Section(16)
SEEN = Section(17, sums=4, hourly=True, span=HOUR, log=True)  # the page views of people and visitors

SECTIONS = (
    TOTALS, PEOPLE, VISITORS, VIEWERS, LATENCY, STAYS, SEEN,
    PAGES, PATHS, PAGE_PEOPLE, PAGE_VISITORS, PATH_PEOPLE, PATH_VISITORS,
    USERS, CALLBACKS, RUNS, CALLBACK_PEOPLE, CALLBACK_VISITORS,
)  # fmt: skip
HOURLY = tuple(section for section in SECTIONS if section.hourly)
QUARTERLY = tuple(section for section in SECTIONS if not section.hourly)
#: What the second is where it is not kept.
SAME = {PATHS: PAGES, PATH_PEOPLE: PAGE_PEOPLE, PATH_VISITORS: PAGE_VISITORS}
#: Added to the number of a section by quarters for its days.
BY_DAY = 32

# -- columns of the totals ----------------------------------------------------------------
VIEWS, CUSTOMS, ALL_RUNS, ERRORS, INTERACTIONS, WAITING, LATENCIES, VISITS, BOUNCES, STAYED = range(10)

# -- columns of a page or path, a user, a callback; the last one is the latest moment ------------
PAGE_VIEWS, PAGE_EVENTS, PAGE_LAST = range(3)
USER_VIEWS, USER_VISITS, USER_INTERACTIONS, USER_EVENTS, USER_LAST = range(5)
(
    BY_USER,
    BY_INITIAL,
    BY_CASCADE,
    BY_NAVIGATION,
    BY_OTHER,
    CALLBACK_ERRORS,
    NO_UPDATES,
    CALLBACK_WAITING,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    CALLBACK_LAST,
) = range(11)

# -- columns of the log of page views -------------------------------------------------------------
SEEN_ACTOR, SEEN_PATH, SEEN_PAGE = 1, 2, 3  # behind the seq; the page is 0 where it is the path


@attrs.frozen(eq=False)
class Cells:
    """Some rows of a section: *numbers* has a row for each key, and no columns for sets, whose keys are pairs."""

    keys: Ints
    numbers: Ints

    def __len__(self) -> int:
        return len(self.keys)


def no_cells(section: Section) -> Cells:
    """Nothing."""
    return Cells(np.zeros(0, np.int64), np.zeros((0, section.sums + section.lasts), np.int64))


def pairs_of(keys: Column, members: Column) -> Ints:
    """Keys of `Cells`, out of keys and members of sets."""
    return keys.astype(np.int64) << MEMBER_BITS | members.astype(np.int64)


def split_pairs(pairs: Ints) -> tuple[Ints, Ints]:
    """Keys and members behind `pairs_of`."""
    return pairs >> MEMBER_BITS, pairs & ((1 << MEMBER_BITS) - 1)


def united(section: Section, parts: Sequence[Cells]) -> Cells:
    """All parts as one, in order of the keys; rows whose sums are 0 are left out."""
    keys = np.concatenate([part.keys for part in parts])
    if section.is_sets:
        keys = np.unique(keys)
        return Cells(keys, np.zeros((len(keys), 0), np.int64))
    if not len(keys):
        return no_cells(section)
    if section.log:
        numbers = np.concatenate([part.numbers for part in parts])
        order = np.lexsort((numbers[:, 0], keys))
        return Cells(keys[order], numbers[order])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    numbers = np.concatenate([part.numbers for part in parts])[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    sums = np.add.reduceat(numbers[:, : section.sums], starts, axis=0)
    lasts = np.maximum.reduceat(numbers[:, section.sums :], starts, axis=0)
    there = sums.any(axis=1)
    return Cells(keys[starts][there], np.hstack((sums, lasts))[there])


def same_cells(one: Cells, other: Cells) -> bool:
    """Both hold the same."""
    return np.array_equal(one.keys, other.keys) and np.array_equal(one.numbers, other.numbers)


def pack_cells(section: Section, cells: Cells) -> bytes:
    """What `united` made, as bytes."""
    if section.is_sets:
        keys, members = split_pairs(cells.keys)
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else keys
        sizes = np.diff(np.append(starts, len(keys)))
        return pack([[keys[starts], sizes, members]])
    columns = list(cells.numbers.T)
    if section.log:  # what follows one another is close
        return pack([[np.diff(cells.keys, prepend=0), np.diff(columns[0], prepend=0), *columns[1:]]])
    if not section.light:
        return pack([[cells.keys, *columns]])
    return pack([[cells.keys, *columns[: section.light]], columns[section.light :]])


def unpack_cells(section: Section, packed: bytes) -> Cells:
    """What `pack_cells` packed."""
    if section.is_sets:
        keys, members = unpack_sets(packed)
        return Cells(pairs_of(keys, members), np.zeros((len(keys), 0), np.int64))
    columns = unpack(packed)
    if section.light:
        columns += unpack(packed, 1)
    if section.log:
        columns[:2] = [np.cumsum(column, dtype=np.int64) for column in columns[:2]]
    return Cells(columns[0].astype(np.int64), np.column_stack(columns[1:]).astype(np.int64))


def unpack_sets(packed: bytes) -> tuple[Column, Column]:
    """The keys and the members of sets, in order."""
    keys, sizes, members = unpack(packed)
    return np.repeat(keys, sizes), members


def count_distinct(groups: Column, members: Column, count: int) -> Ints:
    """How many members each of the groups 0 to *count* - 1 has."""
    found = np.zeros(count, np.int64)
    if not len(groups):
        return found
    width = int(members.max()) + 1
    at_once = max(1, _FLAGS // width)
    if count > at_once:
        order = np.argsort(groups, kind="stable")
        groups, members = groups[order], members[order]
    for first in range(0, count, at_once):
        last = min(first + at_once, count)
        own = slice(None) if count <= at_once else slice(*np.searchsorted(groups, (first, last)))
        flags = np.zeros((last - first) * width, bool)
        flags[(groups[own].astype(np.int64) - first) * width + members[own]] = True
        found[first:last] = np.count_nonzero(flags.reshape(-1, width), axis=1)
    return found


#: Flags that `count_distinct` sets at once: what the processor keeps near.
_FLAGS = 1 << 22

"""What is counted of one segment in one hour or day, and how counts of several are added up.

A segment is an app, automated clients apart. Pages, people and callbacks are numbers of labels; 0 stands for none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import add
from typing import Any, Union

from .packing import (
    bits_of,
    pack,
    pack_bits,
    pack_sets,
    pack_table,
    sum_of,
    unpack,
    unpack_bits,
    unpack_sets,
    unpack_table,
)
from .schema import CUSTOM, RUN, VIEW

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
#: What is many numbers for each segment is counted by quarters of a day, the rest by hours.
QUARTER = 6 * HOUR

# -- sections of a cell -------------------------------------------------------------------
CORE, PAGES, PAGE_ACTORS, USERS, CALLBACKS, CALLBACK_ACTORS, TOTALS = SECTIONS = range(7)
#: Those by hours, the others are by quarters of a day.
CORE_SECTIONS = (CORE, TOTALS)
#: How long a period of each section is; and the section of its sums of days.
LENGTHS = {section: HOUR if section in CORE_SECTIONS else QUARTER for section in SECTIONS}
#: Added to a section for its sums of days.
BY_DAY = 16

# -- columns of the totals ----------------------------------------------------------------
VIEWS, CUSTOMS, RUNS, ERRORS, INTERACTIONS, WAITING, LATENCIES, VISITS, BOUNCES, STAYED = range(10)
_TOTALS = 10

# -- columns of a row of a page or path, a user, a callback; the last one is the latest moment -----------------------
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
_WIDTHS = {"pages": 3, "paths": 3, "users": 5, "callbacks": 11}
#: Causes of runs that nobody waits for.
UNATTENDED = ("timer", "poll")
_CAUSES = {"user": BY_USER, "initial": BY_INITIAL, "cascade": BY_CASCADE, "navigation": BY_NAVIGATION}

#: Buckets of a histogram grow by 8 %: what is in one is within 4 % of its middle.
_GROWTH = math.log(1.08)
_BUCKETS = 1024  # more than any number of microseconds needs

Table = dict[int, list[int]]
Sets = dict[int, set[int]]


def bucket_of(microseconds: int) -> int:
    """The bucket of a duration of at least 0."""
    return int(math.log(microseconds) / _GROWTH) + 1 if microseconds > 0 else 0


def middle_of(bucket: int) -> float:
    """Microseconds that stand for all in a bucket."""
    return math.exp((bucket - 0.5) * _GROWTH) if bucket else 0.0


def edges_of(bucket: int) -> tuple[int, int]:
    """The microseconds between which all in a bucket are, but for rounding."""
    if not bucket:
        return 0, 0
    return int(math.exp((bucket - 1) * _GROWTH)), math.ceil(math.exp(bucket * _GROWTH))


class Core:
    """The numbers of an hour, while they are counted."""

    def __init__(self) -> None:
        self.totals = [0] * _TOTALS
        self.people: set[int] = set()
        self.visitors: set[int] = set()
        self.viewers: set[int] = set()  # who viewed a page, anonymous too
        self.latency: dict[int, int] = {}
        self.stays: dict[int, int] = {}
        self._bits = [0, 0, 0]  # of the three sets, what was packed

    def add(self, row: Any, cause: str | None, outcome: str | None) -> None:
        """Count an event, a *row* with the columns of `folding.COLUMNS`; interactions and visits apart."""
        totals = self.totals
        kind, actor = row[2], row[5]
        if row[4] and actor:
            if actor > 0:
                self.people.add(actor)
            else:
                self.visitors.add(-actor)
        if kind == VIEW:
            totals[VIEWS] += 1
            if row[9] is not None:
                self.viewers.add(row[9])
        elif kind == CUSTOM:
            totals[CUSTOMS] += 1
        else:
            totals[RUNS] += 1
            if outcome == "error":
                totals[ERRORS] += 1
            duration = row[14]
            if duration is not None and duration >= 0:
                bucket = bucket_of(duration)
                totals[LATENCIES] += 1
                self.latency[bucket] = self.latency.get(bucket, 0) + 1
                if cause not in UNATTENDED:
                    totals[WAITING] += duration

    def add_visit(self, microseconds: int, bounce: bool, sign: int) -> None:
        """Count a visit, or take it back."""
        totals = self.totals
        totals[VISITS] += sign
        totals[BOUNCES] += sign if bounce else 0
        totals[STAYED] += sign * microseconds
        bucket = bucket_of(microseconds)
        self.stays[bucket] = self.stays.get(bucket, 0) + sign

    @property
    def bits(self) -> list[int]:
        """People, visitors and viewers as sets of bits."""
        own = (self.people, self.visitors, self.viewers)
        return [bits | bits_of(members) for bits, members in zip(self._bits, own)]

    def packed(self) -> dict[int, bytes]:
        """The sections."""
        totals = pack_table({0: self.totals}, _TOTALS)
        parts = (
            totals,
            *map(pack_bits, self.bits),
            pack_table(_rows(self.latency), 1),
            pack_table(_rows(self.stays), 1),
        )
        return {CORE: pack(parts), TOTALS: totals}

    def merge(self, section: int, packed: bytes) -> None:
        """Add what a packed section counted; `TOTALS` are in `CORE`, too."""
        if section == TOTALS:
            return
        parts = unpack(packed)
        _add_table({0: self.totals}, parts[0], last=False)
        self._bits = [bits | unpack_bits(part) for bits, part in zip(self._bits, parts[1:4])]
        add_counts(self.latency, parts[4])
        add_counts(self.stays, parts[5])


class Totals(Core):
    """The views of an hour, and nothing else of it."""

    def merge(self, section: int, packed: bytes) -> None:
        self.totals[VIEWS] += sum_of(packed, 1 + VIEWS)


class Detail:
    """The pages, users and callbacks of a quarter of a day, while they are counted."""

    def __init__(self) -> None:
        self.pages: Table = {}
        self.paths: Table = {}
        self.users: Table = {}
        self.callbacks: Table = {}
        self.runs: dict[int, int] = {}  # callback * _BUCKETS + bucket
        self.page_people: Sets = {}
        self.page_visitors: Sets = {}
        self.path_people: Sets = {}
        self.path_visitors: Sets = {}
        self.callback_people: Sets = {}
        self.callback_visitors: Sets = {}

    def add(self, row: Any, cause: str | None, outcome: str | None) -> None:
        """Count an event, a *row* with the columns of `folding.COLUMNS`; interactions and visits apart."""
        _, ts, kind, _, active, actor, _, page, path, _, _, callback, _, _, duration, asked, answered, _ = row
        view = 1 if kind == VIEW else 0
        page, path = page or 0, path or 0
        for table, key in ((self.pages, page), (self.paths, path)):
            numbers = table.get(key)
            if numbers is None:
                table[key] = [view, 1, ts]
            else:
                numbers[0] += view
                numbers[1] += 1
                if ts > numbers[2]:
                    numbers[2] = ts
        numbers = self._user(actor)
        numbers[USER_VIEWS] += view
        numbers[USER_EVENTS] += 1
        if ts > numbers[USER_LAST]:
            numbers[USER_LAST] = ts
        if active and actor:
            if actor > 0:
                _put(self.page_people, page, actor)
                _put(self.path_people, path, actor)
            else:
                _put(self.page_visitors, page, -actor)
                _put(self.path_visitors, path, -actor)
        if kind == RUN:
            callback = callback or 0
            numbers = self.callbacks.get(callback)
            if numbers is None:
                numbers = self.callbacks[callback] = [0] * _WIDTHS["callbacks"]
            numbers[_CAUSES.get(cause or "", BY_OTHER)] += 1
            if outcome == "error":
                numbers[CALLBACK_ERRORS] += 1
            elif outcome == "no_update":
                numbers[NO_UPDATES] += 1
            if duration is not None and duration >= 0:
                key = callback * _BUCKETS + bucket_of(duration)
                self.runs[key] = self.runs.get(key, 0) + 1
                if cause not in UNATTENDED:
                    numbers[CALLBACK_WAITING] += duration
            numbers[REQUEST_BYTES] += max(asked or 0, 0)
            numbers[RESPONSE_BYTES] += max(answered or 0, 0)
            if ts > numbers[CALLBACK_LAST]:
                numbers[CALLBACK_LAST] = ts
            if actor:
                if actor > 0:
                    _put(self.callback_people, callback, actor)
                else:
                    _put(self.callback_visitors, callback, -actor)

    def add_interaction(self, actor: int | None, sign: int) -> None:
        """Count an interaction of *actor*, or take it back."""
        self._user(actor)[USER_INTERACTIONS] += sign

    def add_visit(self, actor: int, sign: int) -> None:
        """Count a visit of *actor*, or take it back."""
        self._user(actor)[USER_VISITS] += sign

    def _user(self, actor: int | None) -> list[int]:
        user = actor if actor and actor > 0 else 0
        numbers = self.users.get(user)
        if numbers is None:
            numbers = self.users[user] = [0] * _WIDTHS["users"]
        return numbers

    def packed(self) -> dict[int, bytes]:
        """Each section that has something."""
        found = {}
        same = self.pages == self.paths  # no routes
        if self.pages:
            tables = (self.pages,) if same else (self.pages, self.paths)
            found[PAGES] = pack(pack_table(table, 3) for table in tables)
        if self.page_people or self.page_visitors:
            sets = (self.page_people, self.page_visitors)
            found[PAGE_ACTORS] = pack(map(pack_sets, sets if same else (*sets, self.path_people, self.path_visitors)))
        if self.users:
            found[USERS] = pack([pack_table(self.users, _WIDTHS["users"])])
        if self.callbacks:
            found[CALLBACKS] = pack((pack_table(self.callbacks, _WIDTHS["callbacks"]), pack_table(_rows(self.runs), 1)))
            found[CALLBACK_ACTORS] = pack((pack_sets(self.callback_people), pack_sets(self.callback_visitors)))
        return found

    def merge(self, section: int, packed: bytes) -> None:
        """Add what a packed section counted."""
        parts = unpack(packed)
        if section == PAGES:
            _add_table(self.pages, parts[0])
            _add_table(self.paths, parts[-1])
        elif section == PAGE_ACTORS:
            same = len(parts) == 2
            add_sets(self.page_people, parts[0])
            add_sets(self.page_visitors, parts[1])
            add_sets(self.path_people, parts[0 if same else 2])
            add_sets(self.path_visitors, parts[1 if same else 3])
        elif section == USERS:
            _add_table(self.users, parts[0])
        elif section == CALLBACKS:
            _add_table(self.callbacks, parts[0])
            add_counts(self.runs, parts[1])
        else:
            add_sets(self.callback_people, parts[0])
            add_sets(self.callback_visitors, parts[1])


Cell = Union[Core, Detail]


def add_counts(counts: dict[int, int], part: bytes, column: int = 0) -> None:
    """Add one column of a packed table."""
    columns = unpack_table(part)
    get = counts.get
    for key, count in zip(columns[0], columns[column + 1]):
        counts[key] = get(key, 0) + count


def add_sets(sets: Sets, part: bytes) -> None:
    """Unite packed sets with *sets*."""
    for key, members in unpack_sets(part):
        own = sets.get(key)
        if own is None:
            sets[key] = set(members)
        else:
            own.update(members)


def callback_of(key: int) -> tuple[int, int]:
    """The callback and the bucket in a key of `Cell.runs`."""
    return divmod(key, _BUCKETS)


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """Microseconds that *share* of the values do not exceed, within 4 %; None without values."""
    whole = sum(histogram.values())
    if whole <= 0:
        return None
    rank, seen = max(math.ceil(share * whole), 1), 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return middle_of(bucket)
    return None


def _rows(counts: Mapping[int, int]) -> dict[int, tuple[int]]:
    return {key: (count,) for key, count in counts.items()}


def _put(sets: Sets, key: int, member: int) -> None:
    own = sets.get(key)
    if own is None:
        sets[key] = {member}
    else:
        own.add(member)


def _add_table(table: Table, part: bytes, *, last: bool = True) -> None:
    columns = unpack_table(part)
    get = table.get
    if len(columns) == 4 and last:  # pages: as quick as it can be
        for key, views, events, latest in zip(*columns):
            own = get(key)
            if own is None:
                table[key] = [views, events, latest]
                continue
            own[0] += views
            own[1] += events
            if latest > own[2]:
                own[2] = latest
        return
    for key, *numbers in zip(*columns):
        own = get(key)
        if own is None:
            table[key] = numbers
            continue
        latest = max(own[-1], numbers[-1]) if last else own[-1] + numbers[-1]
        own[:] = map(add, own, numbers)
        own[-1] = latest

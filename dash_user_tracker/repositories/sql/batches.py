"""What some events, interactions and visits add to each section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from ...metrics.records import LARGEST_BYTES, LONGEST_MS
from . import schema
from . import sections as s
from .histogram import BUCKETS, buckets_of
from .packing import Ints
from .rows import Context
from .sections import Section
from .stays import ACTIVE, ACTOR, AUTOMATED, COLUMNS, CONTEXT, KIND, PAGE, PATH, SEQ, TS, WHO, Row, Stay

#: Microseconds that no run has.
LONGEST = int(LONGEST_MS * 1000)
#: Causes of runs that nobody waits for.
_UNATTENDED = ("timer", "poll")
_CAUSES = {"user": s.BY_USER, "initial": s.BY_INITIAL, "cascade": s.BY_CASCADE, "navigation": s.BY_NAVIGATION}
_CALLBACK, _DURATION, _ASKED, _ANSWERED = 11, 14, 15, 16

#: Rows of a batch, their keys, and their numbers or, of sets, their members.
_Own = tuple[Ints, Ints, Ints]


@attrs.frozen(eq=False)
class Added:
    """What is added to a section, each at its moment: *numbers* has a row for each key, of sets the members."""

    ts: Ints
    segment: Ints
    keys: Ints
    numbers: Ints


class Batch:
    """Some rows as columns. *contexts*: every context by its number; *segments*: of a context and `automated`."""

    def __init__(
        self, rows: Sequence[Row], contexts: Mapping[int, Context], segments: Mapping[tuple[int, int], int]
    ) -> None:
        columns = list(zip(*rows)) if rows else [()] * len(COLUMNS)

        def column(place: int) -> Ints:
            return np.array(columns[place], np.int64)

        self.seq, self.ts, self.kind = column(SEQ), column(TS), column(KIND)
        self.active = column(ACTIVE) != 0
        self.actor, self.page, self.path = column(ACTOR), column(PAGE), column(PATH)
        self.who = np.where(self.actor > 0, self.actor, column(WHO))
        self.callback = column(_CALLBACK)
        self.duration = _known(column(_DURATION), LONGEST, -1)
        self.asked, self.answered = (_known(column(place), LARGEST_BYTES, 0) for place in (_ASKED, _ANSWERED))
        told = list(zip(columns[CONTEXT], columns[AUTOMATED]))
        self.segment = np.fromiter(map(segments.__getitem__, told), np.int64, len(rows))
        meaning = {number: _meaning(contexts[number].values) for number in set(columns[CONTEXT])}
        meanings = np.array([meaning[number] for number in columns[CONTEXT]], np.int64).reshape(-1, 4)
        self._cause, self._unattended, self._error, self._unchanged = meanings.T
        self._events = np.arange(len(rows))
        self._view = (self.kind == schema.VIEW).astype(np.int64)
        self._run = self.kind == schema.RUN
        self._timed = np.flatnonzero(self._run & (self.duration >= 0))
        self._buckets = buckets_of(self.duration[self._timed])

    def added(self, section: Section) -> Added:
        """What each event adds; for interactions and visits see `Derived`."""
        rows, keys, numbers = _ADDED[section](self)
        return Added(self.ts[rows], self.segment[rows], keys, numbers)

    # -- inside ------------------------------------------------------------------

    def _totals(self) -> _Own:
        numbers = np.zeros((len(self.ts), s.TOTALS.sums), np.int64)
        numbers[:, s.VIEWS] = self._view
        numbers[:, s.CUSTOMS] = self.kind == schema.CUSTOM
        numbers[:, s.ALL_RUNS] = self._run
        numbers[:, s.ERRORS] = self._run & (self._error != 0)
        timed = self._timed
        numbers[timed, s.LATENCIES] = 1
        numbers[timed, s.WAITING] = np.where(self._unattended[timed], 0, self.duration[timed])
        return self._events, np.zeros(len(self.ts), np.int64), numbers

    def _latency(self) -> _Own:
        return self._timed, self._buckets, _ones(self._timed)

    def _actors(self, key: Ints, among: npt.NDArray[np.bool_], sign: int) -> _Own:
        own = np.flatnonzero(among & (sign * self.actor > 0))
        return own, key[own], sign * self.actor[own]

    def _viewers(self) -> _Own:
        own = np.flatnonzero((self._view != 0) & (self.who >= 0))
        return own, np.zeros(len(own), np.int64), self.who[own]

    def _seen(self) -> _Own:
        own = np.flatnonzero((self._view != 0) & (self.actor != 0))
        page = np.where(self.page == self.path, 0, self.page)
        numbers = np.column_stack((self.seq, self.actor, self.path, page))
        return own, self.ts[own] % s.HOUR, numbers[own]

    def _places(self, key: Ints) -> _Own:
        return self._events, key, np.column_stack((self._view, np.ones_like(self.ts), self.ts))

    def _users(self) -> _Own:
        none = np.zeros_like(self.ts)
        numbers = np.column_stack((self._view, none, none, none + 1, self.ts))
        return self._events, np.maximum(self.actor, 0), numbers

    def _callbacks(self) -> _Own:
        own = np.flatnonzero(self._run)
        numbers = np.zeros((len(own), s.CALLBACKS.sums + 1), np.int64)
        numbers[np.arange(len(own)), self._cause[own]] = 1
        numbers[:, s.CALLBACK_ERRORS] = self._error[own]
        numbers[:, s.NO_UPDATES] = self._unchanged[own]
        numbers[:, s.CALLBACK_WAITING] = np.where(self._unattended[own], 0, np.maximum(self.duration[own], 0))
        numbers[:, s.REQUEST_BYTES] = self.asked[own]
        numbers[:, s.RESPONSE_BYTES] = self.answered[own]
        numbers[:, s.CALLBACK_LAST] = self.ts[own]
        return own, self.callback[own], numbers

    def _runs(self) -> _Own:
        return self._timed, self.callback[self._timed] * BUCKETS + self._buckets, _ones(self._timed)


def _meaning(values: Mapping[str, Any]) -> tuple[int, bool, bool, bool]:
    """What a context says of a run: its column by cause, nobody waited, it failed, it changed nothing."""
    cause, outcome = values["cause"], values["outcome"]
    return _CAUSES.get(cause or "", s.BY_OTHER), cause in _UNATTENDED, outcome == "error", outcome == "no_update"


def _known(values: Ints, least: int, otherwise: int) -> Ints:
    """The values from 0 up to *least*; the others are none that a run has."""
    return np.where((values >= 0) & (values < least), values, otherwise)


def _ones(rows: Ints) -> Ints:
    return np.ones((len(rows), 1), np.int64)


_ADDED: dict[Section, Callable[[Batch], _Own]] = {
    s.TOTALS: Batch._totals,
    s.PEOPLE: lambda batch: batch._actors(np.zeros_like(batch.ts), batch.active, 1),
    s.VISITORS: lambda batch: batch._actors(np.zeros_like(batch.ts), batch.active, -1),
    s.VIEWERS: Batch._viewers,
    s.LATENCY: Batch._latency,
    s.STAYS: lambda batch: (batch._events[:0], batch.ts[:0], np.zeros((0, 1), np.int64)),
    s.SEEN: Batch._seen,
    s.PAGES: lambda batch: batch._places(batch.page),
    s.PATHS: lambda batch: batch._places(batch.path),
    s.PAGE_PEOPLE: lambda batch: batch._actors(batch.page, batch.active, 1),
    s.PAGE_VISITORS: lambda batch: batch._actors(batch.page, batch.active, -1),
    s.PATH_PEOPLE: lambda batch: batch._actors(batch.path, batch.active, 1),
    s.PATH_VISITORS: lambda batch: batch._actors(batch.path, batch.active, -1),
    s.USERS: Batch._users,
    s.CALLBACKS: Batch._callbacks,
    s.RUNS: Batch._runs,
    s.CALLBACK_PEOPLE: lambda batch: batch._actors(batch.callback, batch._run, 1),
    s.CALLBACK_VISITORS: lambda batch: batch._actors(batch.callback, batch._run, -1),
}


#: Sections that interactions and visits add to.
OF_DERIVED = (s.TOTALS, s.USERS, s.STAYS)


@attrs.define
class Derived:
    """Interactions and visits that there are more, or with the sign -1 fewer."""

    interactions: list[tuple[int, int, int, int]] = attrs.Factory(list)  # moment, segment, user or 0, sign
    visits: list[tuple[int, int, int, int, int, int]] = attrs.Factory(list)  # ..., sign, microseconds, bounce

    def add_interaction(self, row: Row, segment: int, sign: int = 1) -> None:
        """The interaction whose first run is *row*."""
        self.interactions.append((row[TS], segment, max(row[ACTOR] or 0, 0), sign))

    def add_visit(self, stay: Stay, sign: int = 1) -> None:
        """A visit."""
        self.visits.append((stay.t0, stay.segment, max(stay.actor, 0), sign, stay.stayed, int(stay.bounce)))

    def added(self, section: Section) -> list[Added]:
        """What they add."""
        found = []
        if self.interactions and section in (s.TOTALS, s.USERS):
            ts, segment, user, sign = np.array(self.interactions, np.int64).T
            place = s.INTERACTIONS if section is s.TOTALS else s.USER_INTERACTIONS
            keys = np.zeros_like(ts) if section is s.TOTALS else user
            found.append(Added(ts, segment, keys, _numbers(section, len(ts), {place: sign})))
        if self.visits and section in (s.TOTALS, s.USERS, s.STAYS):
            ts, segment, user, sign, stayed, bounce = np.array(self.visits, np.int64).T
            columns = {s.VISITS: sign, s.BOUNCES: sign * bounce, s.STAYED: sign * stayed}
            keys = np.zeros_like(ts)
            if section is s.USERS:
                keys, columns = user, {s.USER_VISITS: sign}
            elif section is s.STAYS:
                keys, columns = buckets_of(stayed), {0: sign}
            found.append(Added(ts, segment, keys, _numbers(section, len(ts), columns)))
        return found


def _numbers(section: Section, count: int, columns: Mapping[int, Ints]) -> Ints:
    numbers = np.zeros((count, section.sums + section.lasts), np.int64)
    numbers[:, section.sums :] = s.NEVER
    for place, column in columns.items():
        numbers[:, place] = column
    return numbers

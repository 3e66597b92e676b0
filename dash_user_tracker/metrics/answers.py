"""The rows that questions are answered with.

Names end in their unit: ``_ms`` milliseconds, ``_s`` seconds; a share is between 0 and 1.
A value that nothing was measured for is None, never 0. Datetimes are aware.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Union

import attrs

from .tables import Frames, Row, Rows

Number = Union[int, float]


@attrs.frozen(kw_only=True)
class Summary(Frames, Row):
    """One period in numbers; *previous* is the period it is compared with.

    *people* are distinct identified users with an activity, *visitors* distinct
    ``visitor`` of everybody else: a name that changes daily, so over several days they are
    visitor-days. Neither may be added up over periods or rows.
    """

    start: datetime | None
    end: datetime | None
    people: int
    visitors: int
    visits: int  # that began
    views: int
    interactions: int
    custom_events: int
    runs: int  # of callbacks, whatever their cause
    errors: int  # runs that ended in one
    error_rate: float | None  # errors / runs
    p50_ms: float | None  # of the runs, at the server
    p95_ms: float | None
    p99_ms: float | None
    waiting_ms: float  # all runs together, but those of timers and polls
    bounce_rate: float | None  # bounces / visits
    visit_mean_s: float | None
    visit_median_s: float | None
    exact: bool = True
    previous: Summary | None = None

    def to_dicts(self) -> list[dict[str, Any]]:
        """This period, then the previous one where there is one."""
        return [
            {key: value for key, value in summary.to_dict().items() if key not in ("previous", "exact")}
            for summary in (self, self.previous)
            if summary is not None
        ]


@attrs.frozen
class SeriesPoint(Row):
    """One metric in one period. *partial*: the range asked for covers only a part of the period."""

    start: datetime  # in the time zone asked for
    end: datetime
    value: Number | None
    partial: bool = False


@attrs.frozen
class BreakdownRow(Row):
    """The metrics of one *key*, None for those that have none.

    *label* is what to call it, where that is known: for a user the name, else the e-mail
    address. *last* is when it was last met in the range.
    """

    key: str | None
    values: Mapping[str, Number | None]
    last: datetime | None = None
    label: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"key": self.key, "label": self.label, **self.values, "last": self.last}


@attrs.frozen(kw_only=True)
class Visit(Row):
    """One visit. *id* is that of its first activity's event; *ended* is the last activity.

    Group, browser, release and environment are those of the first activity, *referrer* is
    the site that the first page view came from. *entry* and *exit* are the first and the
    last page that was viewed, None where none was. *interactions* are those that begin in
    it, *errors* all failed runs of it, whatever their cause.
    """

    id: str
    app: str | None
    user: str | None  # user_id of an identified user
    visitor: str | None  # of anybody else
    group: str | None
    started: datetime
    ended: datetime
    duration_s: float
    entry: str | None
    exit: str | None
    views: int
    interactions: int
    custom_events: int
    errors: int
    bounce: bool
    browser: str | None
    referrer: str | None
    release: str | None
    environment: str | None
    automated: bool


@attrs.frozen(kw_only=True)
class TimelineRow(Row):
    """One event of a visit."""

    id: str
    at: datetime
    event: str
    page: str | None
    path: str | None
    navigation: str | None
    callback: str | None
    trigger: str | None
    cause: str | None
    outcome: str | None
    duration_ms: float | None
    error: str | None  # its type


@attrs.frozen
class Timeline(Frames):
    """A visit with its events, oldest first: every event of it, not only the activities."""

    visit: Visit
    events: tuple[TimelineRow, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The events."""
        return [row.to_dict() for row in self.events]


@attrs.frozen(kw_only=True)
class ActiveUsers(Frames, Row):
    """People who were active up to *end*; *visitors* of an anonymous public can be told apart for a day at most."""

    end: datetime
    now: int  # people in the last 5 minutes
    now_visitors: int
    day: int  # people: DAU
    day_visitors: int
    week: int  # people in 7 days: WAU
    month: int  # people in 28 days: MAU
    day_mean: float  # people a day, over the 28 days
    stickiness: float | None  # day_mean / month
    exact: bool = True

    def to_dicts(self) -> list[dict[str, Any]]:
        """The one row."""
        return [{key: value for key, value in self.to_dict().items() if key != "exact"}]


@attrs.frozen
class RetentionRow(Row):
    """The people first seen in the period that begins at *cohort*, and how many were active in each later one.

    ``active[n]`` belongs to the n-th period after the cohort's own (0); None where that period is not over.
    """

    cohort: datetime
    size: int
    active: tuple[int | None, ...]

    @property
    def shares(self) -> tuple[float | None, ...]:
        """*active* / *size*."""
        return tuple(None if count is None or not self.size else count / self.size for count in self.active)

    def to_dict(self) -> dict[str, Any]:
        return {
            "cohort": self.cohort,
            "size": self.size,
            **{f"period_{number}": count for number, count in enumerate(self.active)},
        }


@attrs.frozen
class LifecycleRow(Row):
    """People of one period. *dormant* is None while the period is not over."""

    start: datetime
    end: datetime
    new: int  # never seen before
    returning: int  # active in the period before, too
    resurrected: int  # seen before, but not in the period before
    dormant: int | None  # active in the period before, but not in this one
    partial: bool = False


@attrs.frozen(kw_only=True)
class CallbackStats(Row):
    """One callback. Its runs by cause add up to *runs*; *runs_other* are timers, polls and unknown."""

    callback: str | None
    runs: int
    runs_user: int
    runs_initial: int
    runs_cascade: int
    runs_navigation: int
    runs_other: int
    people: int
    visitors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    waiting_ms: float
    errors: int
    error_rate: float
    no_update_share: float  # answered 204: no update
    request_bytes: int  # all runs together
    response_bytes: int
    last: datetime


@attrs.frozen(kw_only=True)
class ErrorRow(Row):
    """Failed runs with the same type and place. Callback, page, release and user are those of the last one."""

    fingerprint: str  # 16 hex digits of type and place
    type: str
    where: str | None
    count: int
    people: int
    visitors: int
    first: datetime  # ever, not only in the range
    last: datetime
    callback: str | None
    page: str | None
    release: str | None
    user: str | None


@attrs.frozen
class FunnelRow(Row):
    """How many came as far as *step*. *share* is of the first step, *from_previous* of the one before."""

    step: str
    people: int
    visitors: int
    share: float | None
    from_previous: float | None


@attrs.frozen
class JourneyRow(Row):
    """Visits whose pages begin with *pages*; *ended* of them went no further."""

    pages: tuple[str, ...]
    visits: int
    ended: int

    def to_dict(self) -> dict[str, Any]:
        return {"pages": " > ".join(self.pages), "visits": self.visits, "ended": self.ended}


@attrs.frozen
class UnusedRow(Row):
    """Something the app has and nobody used lately; *last* is None where nobody ever did."""

    kind: str  # page, callback or control
    name: str
    last: datetime | None = None
    last_user: str | None = None  # user_id; anonymous where the last user was not identified


@attrs.frozen
class AdoptionRow(Row):
    """Of the *eligible* people of a group, those *active* in the range; *never*: user ids that never came."""

    group: str | None
    eligible: int
    active: int
    share: float | None
    never: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "never": len(self.never)}


@attrs.frozen
class Adoption(Frames):
    """Everybody on the roster, and each group. Somebody in two groups counts in both, and once in *everybody*."""

    everybody: AdoptionRow
    groups: Rows[AdoptionRow]
    exact: bool = True

    def to_dicts(self) -> list[dict[str, Any]]:
        """The groups."""
        return self.groups.to_dicts()

"""Who was active when: active users, retention, the life of a user base. Only identified people."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from .answers import ActiveUsers, LifecycleRow, RetentionRow
from .checks import check_count, moment_or_now
from .filters import Filters
from .history import History
from .measures import people_of, visitors_of
from .percentiles import ratio
from .periods import Period, last_periods, local, zone_of
from .records import Record
from .tables import Rows
from .words import NOW_MINUTES, UNITS, check_word

#: Days, weeks or months in one answer at most.
MOST = 1_000


def active_users(history: History, end: datetime | None, tz: str, filters: Filters) -> ActiveUsers:
    """`MetricsReader.get_active_users`."""
    until = moment_or_now(end).astimezone(timezone.utc)
    zone = zone_of(tz)
    days = last_periods("day", 28, until, zone)
    activities = _activities(history, until, filters)
    daily = _people_by_period(activities, days)
    today = [record.actor for record in activities if record.at >= days[-1].start]
    now = [record.actor for record in activities if record.at >= until - timedelta(minutes=NOW_MINUTES)]
    month = set().union(*daily)
    day_mean = sum(map(len, daily)) / len(days)
    return ActiveUsers(
        end=local(until, zone),
        now=len(people_of(now)),
        now_visitors=len(visitors_of(now)),
        day=len(daily[-1]),
        day_visitors=len(visitors_of(today)),
        week=len(set().union(*daily[-7:])),
        month=len(month),
        day_mean=day_mean,
        stickiness=ratio(day_mean, len(month)),
    )


def retention(
    history: History, unit: str, periods: int, end: datetime | None, tz: str, filters: Filters
) -> Rows[RetentionRow]:
    """`MetricsReader.get_retention`."""
    found, until, activities = _asked(history, unit, periods, end, tz, filters)
    zone = zone_of(tz)
    active = _people_by_period(activities, found)
    first_seen = _first_seen(activities)
    rows = []
    for number, period in enumerate(found):
        cohort = {user for user in active[number] if period.start <= first_seen[user]}
        cells = [
            len(cohort & active[later]) if later < len(found) and found[later].end <= until else None
            for later in range(number, number + len(found))
        ]
        rows.append(RetentionRow(local(period.start, zone), len(cohort), tuple(cells)))
    return Rows(tuple(rows))


def lifecycle(
    history: History, unit: str, periods: int, end: datetime | None, tz: str, filters: Filters
) -> Rows[LifecycleRow]:
    """`MetricsReader.get_lifecycle`."""
    # One more in front: the first of them needs a period before it.
    found, until, activities = _asked(history, unit, periods, end, tz, filters, before=1)
    zone = zone_of(tz)
    active = _people_by_period(activities, found)
    first_seen = _first_seen(activities)
    rows = []
    for period, now, before in zip(found[1:], active[1:], active):
        new = {user for user in now if period.start <= first_seen[user]}
        partial = period.end > until
        rows.append(
            LifecycleRow(
                start=local(period.start, zone),
                end=local(period.end, zone),
                new=len(new),
                returning=len(now & before),
                resurrected=len(now - before - new),
                dormant=None if partial else len(before - now),
                partial=partial,
            )
        )
    return Rows(tuple(rows))


def _asked(
    history: History, unit: str, periods: int, end: datetime | None, tz: str, filters: Filters, before: int = 0
) -> tuple[list[Period], datetime, list[Record]]:
    """The last *periods* and as many *before* them, their end, and all activities up to it."""
    check_word("unit", unit, UNITS)
    check_count("periods", periods, 1, MOST)
    until = moment_or_now(end).astimezone(timezone.utc)
    return last_periods(unit, periods + before, until, zone_of(tz)), until, _activities(history, until, filters)


def _activities(history: History, until: datetime, filters: Filters) -> list[Record]:
    return [record for record in history.selected(None, until, filters) if record.active]


def _first_seen(activities: Sequence[Record]) -> dict[str, datetime]:
    seen: dict[str, datetime] = {}
    for record in activities:
        if record.actor.user is not None:
            seen.setdefault(record.actor.user, record.at)
    return seen


def _people_by_period(activities: Sequence[Record], periods: Sequence[Period]) -> list[set[str]]:
    """The people of each period."""
    edges = [period.start for period in periods]
    found: list[set[str]] = [set() for _ in periods]
    for record in activities:
        index = bisect.bisect_right(edges, record.at) - 1
        if index >= 0 and record.actor.user is not None:
            found[index].add(record.actor.user)
    return found

"""People over time: who is active, stays, comes back, out of the roll-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from ...metrics.answers import ActiveUsers, LifecycleRow, RetentionRow
from ...metrics.percentiles import ratio
from ...metrics.periods import Period, last_periods, local, zone_of
from ...metrics.tables import Rows
from ...metrics.words import NOW_MINUTES
from . import schema
from . import sections as s
from .answers import clipped
from .rollups import Rollups
from .texts import to_microseconds

Flags = npt.NDArray[np.bool_]


def active_users(rollups: Rollups, until: datetime, tz: str) -> ActiveUsers:
    """`MetricsReader.get_active_users`."""
    zone = zone_of(tz)
    days = last_periods("day", 28, until, zone)
    low, high = rollups.range_of(None, until)
    hours = rollups.hours([clipped(day, low, high) for day in days])
    daily = hours.flags(s.PEOPLE)
    recent = to_microseconds(until - timedelta(minutes=NOW_MINUTES))
    now = rollups.hours([(max(low, recent), high)])
    month = _size(np.any(daily, axis=0))
    day_mean = int(daily.sum()) / len(days)
    return ActiveUsers(
        end=local(until, zone),
        now=int(now.counts(s.PEOPLE)[0]),
        now_visitors=int(now.counts(s.VISITORS)[0]),
        day=_size(daily[-1]),
        day_visitors=int(hours.counts(s.VISITORS)[-1]),
        week=_size(np.any(daily[-7:], axis=0)),
        month=month,
        day_mean=day_mean,
        stickiness=ratio(day_mean, month),
    )


def _people(rollups: Rollups, found: Sequence[Period], until: datetime) -> tuple[Flags, Flags]:
    """People before the first period, and a row of those of each."""
    low, high = rollups.range_of(None, until)
    begin = to_microseconds(found[0].start)
    ranges = [(low, max(low, min(begin, high))), *(clipped(period, low, high) for period in found)]
    flags = rollups.hours(ranges).flags(s.PEOPLE)
    return flags[0], flags[1:]


def retention(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[RetentionRow]:
    """`MetricsReader.get_retention`."""
    zone = zone_of(tz)
    found = last_periods(unit, count, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    for number, period in enumerate(found):
        cohort = active[number] & ~seen
        seen = seen | active[number]
        there = np.count_nonzero(active[:, cohort], axis=1)
        cells = [
            int(there[later]) if later < len(found) and found[later].end <= until else None
            for later in range(number, number + len(found))
        ]
        rows.append(RetentionRow(local(period.start, zone), _size(cohort), tuple(cells)))
    return Rows(tuple(rows))


def lifecycle(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[LifecycleRow]:
    """`MetricsReader.get_lifecycle`."""
    zone = zone_of(tz)
    found = last_periods(unit, count + 1, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    seen = seen | active[0]
    for period, now, before in zip(found[1:], active[1:], active):
        new = now & ~seen
        seen = seen | now
        partial = period.end > until
        rows.append(
            LifecycleRow(
                start=local(period.start, zone),
                end=local(period.end, zone),
                new=_size(new),
                returning=_size(now & before),
                resurrected=_size(now & ~before & ~new),
                dormant=None if partial else _size(before & ~now),
                partial=partial,
            )
        )
    return Rows(tuple(rows))


def people_between(rollups: Rollups, start: datetime | None, end: datetime | None) -> set[str]:
    """The user ids of people with an activity."""
    (flags,) = rollups.hours([rollups.range_of(start, end)]).flags(s.PEOPLE)
    return set(rollups.texts(schema.WHO, np.flatnonzero(flags).tolist()).values())


def _size(flags: npt.NDArray[np.bool_] | np.bool_) -> int:
    return int(np.count_nonzero(flags))

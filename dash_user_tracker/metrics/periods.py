"""Hours, days, weeks and months of a time zone, as ranges of moments.

All arithmetic is done in UTC: two datetimes of one `zoneinfo.ZoneInfo` are compared and
subtracted by their wall clocks (PEP 495), which is wrong by an hour twice a year.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import attrs

from .checks import check_range
from .words import INTERVALS, check_word

#: Periods in one answer at most: hours of a year.
MOST = 10_000

_LEAST = {"hour": 1, "day": 23, "week": 23 + 6 * 24, "month": 27 * 24 + 23}  # hours
_SECOND = timedelta(seconds=1)


@attrs.frozen
class Period:
    """``start <= moment < end``, both in UTC."""

    start: datetime
    end: datetime


def zone_of(tz: str) -> tzinfo:
    """The time zone of an IANA name; ValueError for what is none."""
    if tz == "UTC":
        return timezone.utc  # works where there is no time zone database, too
    try:
        return ZoneInfo(tz)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"tz must be an IANA time zone such as 'Europe/Berlin', got {tz!r}") from error


def local(moment: datetime, zone: tzinfo) -> datetime:
    """*moment* on the wall clock of *zone*, with a fixed offset, so that it still compares as a moment."""
    there = moment.astimezone(zone)
    return there.replace(tzinfo=timezone(there.utcoffset() or timedelta(0)), fold=0)


def periods(interval: str, start: datetime, end: datetime, zone: tzinfo) -> list[Period]:
    """The periods that the range touches, oldest first, none of them empty; ValueError for more than `MOST`."""
    check_word("interval", interval, INTERVALS)
    check_range(start, end)
    since, until = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    if since == until:
        return []
    _check_years(since, until)
    if (until - since) / timedelta(hours=_LEAST[interval]) > MOST:
        raise ValueError(
            f"the range must have at most {MOST} periods, got {since.isoformat()} to {until.isoformat()} by "
            f"{interval}; ask for a shorter range or a longer interval"
        )
    edges = _hours(since, zone) if interval == "hour" else _dates(interval, since, zone)
    found = []
    left = next(edges)
    for right in edges:
        if since < right and left < right:  # a country that crosses the date line leaves out a day
            found.append(Period(left, right))
        if right >= until:
            break
        left = right
    return found


def last_periods(interval: str, count: int, end: datetime, zone: tzinfo) -> list[Period]:
    """The *count* periods of which the last holds the moment before *end*, oldest first."""
    _check_years(end)
    last = end.astimezone(timezone.utc) - timedelta(microseconds=1)
    day = _floor(interval, last.astimezone(zone).date())
    for _ in range(count):  # one more than needed, for a day that was left out
        day = _floor(interval, day - timedelta(days=1))
    return periods(interval, _midnight(day, zone), end, zone)[-count:]


def _check_years(*moments: datetime) -> None:
    """ValueError where the calendar of `datetime` might end before the periods do."""
    for moment in moments:
        if not 1900 <= moment.year <= 9000:
            raise ValueError(f"periods must be in the years 1900 to 9000, got {moment.isoformat()}")


def _dates(interval: str, since: datetime, zone: tzinfo) -> Iterator[datetime]:
    # From one period earlier: where clocks go back over midnight, a moment of yesterday's date comes after today began.
    day = _floor(interval, _floor(interval, since.astimezone(zone).date()) - timedelta(days=1))
    while True:
        yield _midnight(day, zone)
        day = _next(interval, day)


def _floor(interval: str, day: date) -> date:
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def _next(interval: str, day: date) -> date:
    if interval == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    """The first moment of a local day: 00:00, the first of two, or where clocks jump over it, their jump."""
    there = datetime(day.year, day.month, day.day, tzinfo=zone)
    moment = there.astimezone(timezone.utc)
    if moment.astimezone(zone).replace(tzinfo=None) == there.replace(tzinfo=None):
        return moment
    # PEP 495: for a time that does not exist, fold=1 is a moment before the jump, fold=0 one not before it.
    return _change(there.replace(fold=1).astimezone(timezone.utc), moment, zone)


def _hours(since: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The moments at which the local hour changes: by the clock running on, or being set."""
    there = since.astimezone(zone)
    past = timedelta(minutes=there.minute, seconds=there.second, microseconds=there.microsecond)
    left = since - past
    if left.astimezone(zone).utcoffset() != there.utcoffset():
        left = _change(left, since, zone)
    while True:
        yield left
        there = left.astimezone(zone)
        right = left + timedelta(hours=1) - timedelta(minutes=there.minute, seconds=there.second)
        left = right if right.astimezone(zone).utcoffset() == there.utcoffset() else _change(left, right, zone)


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The moment in (before, after] from which the clocks are set as they are *after*, to the second."""
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle <= before:
            break
        if middle.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset():
            after = middle
        else:
            before = middle
    return after

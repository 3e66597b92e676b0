"""Arguments that several questions have, checked."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ..events import ANONYMOUS


def check_range(start: datetime | None, end: datetime | None) -> None:
    """ValueError where a bound is naive or the range runs backwards."""
    for name, value in (("start", start), ("end", end)):
        if value is not None:
            check_moment(name, value)
    if start is not None and end is not None and end < start:
        raise ValueError(f"end must not be before start, got {start.isoformat()} to {end.isoformat()}")


def check_moment(name: str, value: datetime) -> None:
    """ValueError where *value* is not an aware datetime."""
    if not isinstance(value, datetime):
        raise ValueError(f"{name} must be an aware datetime (datetime.now(timezone.utc)), got {value!r}")
    if value.tzinfo is None:
        raise ValueError(f"{name} must be an aware datetime (datetime.now(timezone.utc)), got naive {value!r}")


def check_limit(limit: int | None) -> None:
    """ValueError where *limit* is negative."""
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be at least 0, or None for all rows, got {limit}")


def check_count(name: str, value: int, least: int, most: int) -> None:
    """ValueError where *value* is not a whole number in the range."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r}")


def moment_or_now(end: datetime | None) -> datetime:
    """*end*, or now; ValueError where it is naive."""
    if end is None:
        return datetime.now(timezone.utc)
    check_moment("end", end)
    return end


def compared(
    start: datetime | None, end: datetime | None, compare: str | tuple[datetime, datetime] | None
) -> tuple[datetime, datetime] | None:
    """The range that a summary is compared with, None for none."""
    if compare is None:
        return None
    if compare == "previous":
        if start is None or end is None:
            raise ValueError("compare='previous' needs start and end: the period before has the same length")
        check_range(start, end)
        # In UTC: a difference of two local times would forget that clocks were changed between them.
        since, until = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
        try:
            return since - (until - since), since
        except OverflowError as error:
            raise ValueError(f"compare='previous' needs a period before start, got {start.isoformat()}") from error
    if isinstance(compare, tuple) and len(compare) == 2:
        for bound in compare:
            check_moment("compare", bound)
        check_range(*compare)
        return compare
    raise ValueError(f"compare must be 'previous', a pair of aware datetimes or None, got {compare!r}")


def check_within(within: timedelta | None) -> None:
    """ValueError where *within* is no time to take steps in."""
    if within is not None and (not isinstance(within, timedelta) or within < timedelta(0)):
        raise ValueError(f"within must be a timedelta of at least 0, or None for no limit, got {within!r}")


def check_person(user_id: str) -> None:
    """ValueError where *user_id* is not that of somebody."""
    if not isinstance(user_id, str) or user_id in ("", ANONYMOUS):
        raise ValueError(f"user_id must be the id of one person, got {user_id!r}")

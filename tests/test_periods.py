"""Hours, days, weeks and months, where clocks change and where calendars are odd."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_strategies import ZONES

from dash_user_tracker.metrics.periods import last_periods, local, periods, zone_of
from dash_user_tracker.metrics.words import INTERVALS, UNITS


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tz", "interval", "start", "end", "expected"),
    [
        pytest.param(
            "Europe/Berlin", "day", at(2025, 3, 29, 23), at(2025, 3, 31, 22),
            [("2025-03-30T00:00:00+01:00", 23), ("2025-03-31T00:00:00+02:00", 24)],
            id="a day of 23 hours",
        ),
        pytest.param(
            "Europe/Berlin", "day", at(2025, 10, 25, 22), at(2025, 10, 26, 23),
            [("2025-10-26T00:00:00+02:00", 25)],
            id="a day of 25 hours",
        ),
        pytest.param(
            "Europe/Berlin", "hour", at(2025, 3, 30, 0), at(2025, 3, 30, 2),
            [("2025-03-30T01:00:00+01:00", 1), ("2025-03-30T03:00:00+02:00", 1)],
            id="an hour that is left out",
        ),
        pytest.param(
            "Asia/Kathmandu", "hour", at(2025, 3, 30, 0), at(2025, 3, 30, 0, 30),
            [("2025-03-30T05:00:00+05:45", 1), ("2025-03-30T06:00:00+05:45", 1)],
            id="a zone a quarter of an hour off",
        ),
        pytest.param(
            "Australia/Lord_Howe", "hour", at(2025, 4, 5, 14), at(2025, 4, 5, 16),
            [("2025-04-06T01:00:00+11:00", 1), ("2025-04-06T01:30:00+10:30", 0.5), ("2025-04-06T02:00:00+10:30", 1)],
            id="half an hour that comes twice",
        ),
        pytest.param(
            "Australia/Lord_Howe", "hour", at(2025, 10, 4, 15), at(2025, 10, 4, 16, 30),
            [("2025-10-05T01:00:00+10:30", 1), ("2025-10-05T02:30:00+11:00", 0.5),
             ("2025-10-05T03:00:00+11:00", 1)],
            id="half an hour that is left out",
        ),
        pytest.param(
            "America/Sao_Paulo", "day", at(2018, 11, 3, 3), at(2018, 11, 5, 2),
            [("2018-11-03T00:00:00-03:00", 24), ("2018-11-04T01:00:00-02:00", 23)],
            id="a day without a midnight",
        ),
        pytest.param(
            "America/Goose_Bay", "day", at(2010, 11, 6, 3), at(2010, 11, 8, 4),
            [("2010-11-06T00:00:00-03:00", 24), ("2010-11-07T00:00:00-03:00", 25)],
            id="a day with two midnights",
        ),
        pytest.param(
            "America/Toronto", "day", at(1919, 3, 30, 5), at(1919, 4, 1, 4),
            [("1919-03-30T00:00:00-05:00", 23.5), ("1919-03-31T00:30:00-04:00", 23.5)],
            id="clocks that jumped over midnight",
        ),
        pytest.param(
            "Pacific/Apia", "day", at(2011, 12, 29, 10), at(2012, 1, 1, 9),
            [("2011-12-29T00:00:00-10:00", 24), ("2011-12-31T00:00:00+14:00", 24), ("2012-01-01T00:00:00+14:00", 24)],
            id="a day that never was",
        ),
        pytest.param(
            "UTC", "week", at(2024, 12, 31), at(2025, 1, 6, 0, 1),
            [("2024-12-30T00:00:00+00:00", 168), ("2025-01-06T00:00:00+00:00", 168)],
            id="a week over new year",
        ),
        pytest.param(
            "UTC", "month", at(2024, 2, 29), at(2024, 3, 1),
            [("2024-02-01T00:00:00+00:00", 29 * 24)],
            id="a leap month, and not the one that begins at the end",
        ),
    ],
)  # fmt: skip
def test_periods_are_those_of_the_local_clock(
    tz: str, interval: str, start: datetime, end: datetime, expected: list[tuple[str, float]]
) -> None:
    zone = zone_of(tz)
    found = periods(interval, start, end, zone)
    assert [
        (local(period.start, zone).isoformat(), (period.end - period.start) / timedelta(hours=1)) for period in found
    ] == expected


_MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))


@given(_MOMENTS, st.timedeltas(timedelta(0), timedelta(40)), st.sampled_from(INTERVALS), st.sampled_from(ZONES))
def test_periods_adjoin_and_cover_the_range_and_no_more(
    start: datetime, length: timedelta, interval: str, tz: str
) -> None:
    found = periods(interval, start, start + length, zone_of(tz))
    assert all(one.end == other.start for one, other in zip(found, found[1:]))
    assert all(period.start < period.end for period in found)
    if length:
        assert found[0].start <= start < found[0].end
        assert found[-1].start < start + length <= found[-1].end
    else:
        assert found == []


@given(_MOMENTS, st.integers(1, 30), st.sampled_from(UNITS), st.sampled_from(ZONES))
def test_the_last_period_holds_the_moment_before_the_end(end: datetime, count: int, unit: str, tz: str) -> None:
    found = last_periods(unit, count, end, zone_of(tz))
    assert len(found) == count
    assert found[-1].start < end <= found[-1].end


@pytest.mark.parametrize("tz", ["", "Nowhere", "Europe", "../../etc/passwd", "europe\x00", None, 1])
def test_what_is_no_time_zone_is_refused(tz: object) -> None:
    with pytest.raises(ValueError, match="tz must be an IANA time zone"):
        zone_of(tz)  # type: ignore[arg-type]


def test_a_local_time_still_compares_as_a_moment() -> None:
    first, second = at(2025, 10, 26, 0), at(2025, 10, 26, 1)
    zone = zone_of("Europe/Berlin")
    assert local(first, zone) == first
    assert local(first, zone) < local(second, zone)
    assert local(second, zone) - local(first, zone) == timedelta(hours=1)

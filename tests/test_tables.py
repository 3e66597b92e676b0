"""Answers as rows and as data frames."""

from __future__ import annotations

import sys
import types
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dash_user_tracker.metrics.answers import BreakdownRow, JourneyRow, RetentionRow, SeriesPoint
from dash_user_tracker.metrics.tables import Rows

SUMMER = datetime(2025, 7, 1, tzinfo=timezone(timedelta(hours=2)))
WINTER = datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))
SERIES = Rows((SeriesPoint(WINTER, SUMMER, 5), SeriesPoint(SUMMER, SUMMER, None, True)))


def test_rows_are_a_sequence() -> None:
    assert (len(SERIES), SERIES.total, SERIES.exact) == (2, 2, True)
    assert SERIES[0].value == 5
    assert SERIES[-1:] == (SERIES.rows[1],)
    assert [point.value for point in SERIES] == [5, None]
    assert Rows(SERIES.rows, total=9).total == 9


def test_a_row_is_a_flat_dictionary() -> None:
    assert SERIES.to_dicts()[0] == {"start": WINTER, "end": SUMMER, "value": 5, "partial": False}
    assert BreakdownRow("/a", {"views": 1}).to_dict() == {"key": "/a", "label": None, "views": 1, "last": None}
    assert JourneyRow(("/a", "/b"), 2, 1).to_dict() == {"pages": "/a > /b", "visits": 2, "ended": 1}
    assert RetentionRow(WINTER, 4, (4, None)).to_dict() == {
        "cohort": WINTER,
        "size": 4,
        "period_0": 4,
        "period_1": None,
    }


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_data_frame_is_made_of_the_rows_with_times_in_utc(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class DataFrame:
        def __init__(self, rows: list[dict[str, Any]], **options: object) -> None:
            self.rows = rows

    library = types.ModuleType(name)
    library.DataFrame = DataFrame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, library)
    frame = getattr(SERIES, f"to_{name}")()
    assert frame.rows == SERIES.to_dicts()
    assert {row["start"].tzinfo for row in frame.rows} == {timezone.utc}


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'pip install "dash-user-tracker\[{name}\]"'):
        getattr(SERIES, f"to_{name}")()

"""The pages that visits go through."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import groupby

from .answers import JourneyRow
from .checks import check_count, check_limit, check_range
from .filters import Filters
from .history import History
from .tables import Rows
from .visits import Stay

#: Pages of a journey at most.
DEEPEST = 8


def journeys(
    history: History,
    start: datetime | None,
    end: datetime | None,
    start_page: str | None,
    depth: int,
    filters: Filters,
    limit: int | None,
) -> Rows[JourneyRow]:
    """`MetricsReader.get_journeys`."""
    check_range(start, end)
    check_limit(limit)
    check_count("depth", depth, 1, DEEPEST)
    visits: Counter[tuple[str, ...]] = Counter()
    ended: Counter[tuple[str, ...]] = Counter()
    for stay in history.slice(start, end, filters).visits:
        pages = pages_of(stay, start_page)
        if pages:
            visits[pages[:depth]] += 1
            ended[pages[:depth]] += len(pages) <= depth
    rows = [JourneyRow(pages, count, ended[pages]) for pages, count in visits.items()]
    rows.sort(key=lambda row: (-row.visits, row.pages))
    return Rows(tuple(rows[:limit]), total=len(rows))


def pages_of(stay: Stay, start_page: str | None) -> tuple[str, ...]:
    """The pages of a visit from *start_page* on, the same one in a row once."""
    pages = [page for page, _ in groupby(record.page or "" for record in stay.views)]
    if start_page is not None:
        pages = pages[pages.index(start_page) :] if start_page in pages else []
    return tuple(pages)

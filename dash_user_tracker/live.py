"""Counts of what is being recorded, shown while they change."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from .events import CALLBACK, PAGE_VIEW, Event
from .metrics.records import is_error, text_of, user_of


@attrs.frozen
class Totals:
    """What a run of the demo recorded, automated clients included."""

    views: int
    people: int
    visitors: int
    callback_runs: int
    callback_errors: int
    custom_events: int


def totals_of(events: Iterable[Event]) -> Totals:
    """The counts over *events*; a person is no visitor, too."""
    found = list(events)
    runs = [event for event in found if event.event == CALLBACK]
    views = sum(event.event == PAGE_VIEW for event in found)
    return Totals(
        views=views,
        people=len({user_of(event.data) for event in found} - {None}),
        visitors=len({text_of(event.data.get("visitor")) for event in found if user_of(event.data) is None} - {None}),
        callback_runs=len(runs),
        callback_errors=sum(is_error(event.data) for event in runs),
        custom_events=len(found) - views - len(runs),
    )


def describe_totals(totals: Totals) -> str:
    """``5 page views | 1 user | 2 callback runs (1 failed)``."""
    failed = f" ({totals.callback_errors:,} failed)" if totals.callback_errors else ""
    parts = [
        _many(totals.views, "page view"),
        *([_many(totals.people, "user")] if totals.people or not totals.visitors else []),
        *([_many(totals.visitors, "visitor")] if totals.visitors else []),
        _many(totals.callback_runs, "callback run") + failed,
        *([_many(totals.custom_events, "custom event")] if totals.custom_events else []),
    ]
    return " | ".join(parts)


def live_summary(totals: Totals) -> RenderableType:
    """The counts as a table, for a display that is drawn again and again."""
    counts = {
        "Page views": totals.views,
        "Users": totals.people,
        "Visitors": totals.visitors,
        "Callback runs": totals.callback_runs,
        "Failed": totals.callback_errors,
        "Custom events": totals.custom_events,
    }
    table = Table(title="Recorded so far", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in counts:
        table.add_column(name, justify="right")
    table.add_row(*(f"{count:,}" for count in counts.values()))
    return table


class LiveSummary:
    """Shows counts as they change: a table redrawn in place on a terminal, else one line for each change."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._shown: Totals | None = None

    def __enter__(self) -> LiveSummary:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, totals: Totals) -> None:
        if totals == self._shown:
            return
        self._shown = totals
        if self._live is None:
            self._out.print(describe_totals(totals), soft_wrap=True)
        else:
            self._live.update(live_summary(totals), refresh=True)


def _many(count: int, one: str) -> str:
    return f"{count:,} {one if count == 1 else one + 's'}"

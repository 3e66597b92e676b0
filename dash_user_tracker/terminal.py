"""A report, and a live line of counts, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .report import Coverage, Report, Totals


def console() -> Console:
    """Standard output; what events contain is shown as text, never taken as markup."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=False)


def print_report(out: Console, covers: Coverage, report: Report) -> None:
    """Headline, what is covered, and a table for each kind of row that there is."""
    totals = report.totals
    out.print(Text("Usage of " + ", ".join(map(printable, report.apps)), style="bold"))
    out.print(describe_range(covers) + "; " + describe_automated(totals.automated_views, covers.automated) + ".")
    out.print()
    out.print(Text(describe_totals(totals), style="bold"))
    out.print()
    for table in _tables(report):
        out.print(table)


def describe_range(covers: Coverage) -> str:
    if covers.start is None and covers.end is None:
        return "All recorded events, times in UTC"
    since = f"from {_moment(covers.start)}" if covers.start is not None else "from the first event"
    until = f"to {_moment(covers.end)}" if covers.end is not None else "to now"
    return f"{'Events' if covers.complete else 'Only the newest events,'} {since} {until}, times in UTC"


def describe_automated(views: int, included: bool) -> str:
    """Whether robots, probes and test clients are in the numbers, and how many page views they are."""
    what = _many(views, "page view") + " of automated clients"
    return f"{what} included" if included else f"{what} left out" + (" (--automated counts them)" if views else "")


def describe_totals(totals: Totals) -> str:
    parts = [
        _many(totals.views, "page view"),
        _people(totals.people, totals.visitors, totals.days),
        _many(totals.pages, "page"),
    ]
    if totals.addresses != totals.pages:
        parts[-1] += f" ({_many(totals.addresses, 'address', 'addresses')})"
    parts.append(_many(totals.callback_runs, "callback run"))
    if totals.callback_errors:
        parts[-1] += f" ({totals.callback_errors:,} failed)"
    if totals.custom_events:
        parts.append(_many(totals.custom_events, "custom event"))
    return " | ".join(parts)


def live_summary(totals: Totals) -> RenderableType:
    """The counts as a table, for a display that is drawn again and again."""
    counts = {
        "Page views": totals.views,
        "Users": totals.people,
        "Visitors": totals.visitors,
        "Pages": totals.pages,
        "Callback runs": totals.callback_runs,
        "Failed": totals.callback_errors,
        "Custom events": totals.custom_events,
    }
    table = Table(title="Recorded so far", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in counts:
        table.add_column(name, justify="right")
    table.add_row(*(f"{count:,}" for count in counts.values()))
    return table


def printable(text: str) -> str:
    """*text* without control characters: a path is the visitor's to choose, and could repaint the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _tables(report: Report) -> Iterable[Table]:
    days = report.totals.days
    if report.pages:
        table = _table("Pages", "Page", ">Views", "People", ">Loads", ">Internal", "Last view")
        for page in report.pages:
            who = _people(page.people, page.visitors, days)
            _row(table, page.page, page.views, who, page.loads, page.internal, page.last)
        yield table
    if report.users:
        table = _table("People", "User", "E-mail", ">Views", ">Pages", ">Callback runs", "Last seen")
        for user in report.users:
            _row(table, user.user_id, user.email, user.views, user.pages, user.callback_runs, user.last)
        yield table
    if report.callbacks:
        table = _table("Callbacks", "Callback", ">Runs", ">p50 ms", ">p95 ms", ">Errors", "Last error")
        for run in report.callbacks:
            error = run.last_error and run.last_error.rpartition(".")[2]
            _row(table, run.callback, run.runs, run.p50_ms, run.p95_ms, run.errors, error)
        yield table
    if report.custom:
        table = _table("Custom events", "Event", ">Count", "People", "Last")
        for custom in report.custom:
            _row(table, custom.event, custom.count, _people(custom.people, custom.visitors, days), custom.last)
        yield table
    if report.latest:
        table = _table("Latest page views", "Time", "Page", "User", "How")
        for view in report.latest:
            how = (view.navigation or "-") + (", automated" if view.automated else "")
            _row(table, view.timestamp, view.path, view.user_id, how)
        yield table


def _table(title: str, *columns: str) -> Table:
    """A leading ``>`` marks a column of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        number = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _row(table: Table, *cells: str | float | datetime | None) -> None:
    table.add_row(*(Text(_cell(cell)) for cell in cells))


def _cell(value: str | float | datetime | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def _moment(value: datetime) -> str:
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _people(people: int, visitors: int, days: int) -> str:
    parts = [_many(people, "user")] if people or not visitors else []
    if visitors:
        # Everybody without a log-in is somebody else the next day.
        parts.append(_many(visitors, "visitor" if days == 1 else "visitor-day"))
    return " + ".join(parts)


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


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

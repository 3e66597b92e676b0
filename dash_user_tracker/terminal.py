"""A report on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .metrics.periods import local, zone_of
from .metrics.words import METRICS
from .report import Report

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*#@"


def console() -> Console:
    """Standard output; what events contain is shown as text, never taken as markup."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=False)


def print_report(out: Console, report: Report) -> None:
    """A headline, what is covered, the numbers with their course, and a table for each kind of row that there is."""
    out.print(Text(headline(report), style="bold"))
    out.print(describe_range(report) + "; " + describe_automated(report) + ".")
    out.print()
    out.print(_summary(report, plain=not (out.encoding or "").lower().startswith("utf")))
    for table in _tables(report):
        out.print(table)
    out.print(describe_active(report))


def headline(report: Report) -> str:
    """``84 people used Sales explorer in 30 days, 12 more than in the 30 days before.``"""
    summary = report.summary
    apps = ", ".join(map(printable, report.apps)) or "the app"
    text = f"{people_of(summary.people, summary.visitors, report)} used {apps}"
    before = summary.previous
    if before is None or not (before.people or before.visitors):
        return text + "."
    more = summary.people - before.people if summary.people or before.people else summary.visitors - before.visitors
    than = f"{abs(more):,} {'more' if more > 0 else 'fewer'} than" if more else "as many as"
    return f"{text}, {than} in the {describe_length(report)} before."


def describe_length(report: Report) -> str:
    hours = round((report.end - report.start).total_seconds() / 3600)
    return many(hours, "hour") if hours < 48 else many(round(hours / 24), "day")


def describe_range(report: Report) -> str:
    chosen = [
        f"{field.name} {printable(value)}"
        for field in attrs.fields(type(report.filters))
        if isinstance(value := getattr(report.filters, field.name), str)
    ]
    since, until = moment(report.start, report.tz), moment(report.end, report.tz)
    return f"From {since} to {until}, times in {report.tz}" + "".join(f", {each}" for each in chosen)


def describe_automated(report: Report) -> str:
    """Whether robots, probes and test clients are in the numbers, and how many page views they are."""
    what = many(report.automated_views, "page view") + " of automated clients"
    if report.filters.automated:
        return "automated clients only"
    if report.filters.automated is None:
        return f"{what} included"
    return f"{what} left out" + (" (--automated any counts them)" if report.automated_views else "")


def describe_active(report: Report) -> str:
    active = report.active
    stickiness = "" if active.stickiness is None else f"; of those of the month, {active.stickiness:.0%} on a mean day"
    # Everybody without a log-in is somebody else the next day: only the last two numbers can count them.
    return (
        f"Active up to {moment(active.end, report.tz)}: "
        f"{_both(active.now, active.now_visitors)} in the last 5 minutes, "
        f"{_both(active.day, active.day_visitors)} today, {many(active.week, 'user')} in 7 days, "
        f"{many(active.month, 'user')} in 28 days{stickiness}."
    )


def people_of(people: int, visitors: int, report: Report) -> str:
    """Users, and whom nobody knows; over several days these are visitor-days, for their names change daily."""
    one_day = local(report.start, zone_of(report.tz)).date() == local(report.end, zone_of(report.tz)).date()
    return _both(people, visitors, "visitor" if one_day else "visitor-day")


def printable(text: str) -> str:
    """*text* without control characters: a path is the visitor's to choose, and could repaint the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def sparkline(values: Sequence[float | None], *, plain: bool = False) -> str:
    """A bar for each value, scaled from 0 to the largest; a gap for None."""
    bars = _PLAIN_BARS if plain else _BARS
    most = max((value for value in values if value is not None), default=0)
    return "".join(
        " " if value is None else bars[0 if most <= 0 else min(int(value / most * len(bars)), len(bars) - 1)]
        for value in values
    )


# -- tables -----------------------------------------------------------------------------

_SHARES = {metric for metric in METRICS if metric.endswith("_rate")}
_NAMES = {
    "people": "Users",
    "visitors": "Visitors",
    "visits": "Visits",
    "views": "Page views",
    "interactions": "Interactions",
    "runs": "Callback runs",
    "errors": "Failed runs",
    "error_rate": "Error rate",
    "p95_ms": "p95 latency",
    "waiting_ms": "Time waited",
    "bounce_rate": "Bounce rate",
    "visit_median_s": "Median visit",
    "custom_events": "Custom events",
}


def _summary(report: Report, *, plain: bool) -> Table:
    table = _table("Numbers", "", f">{describe_length(report)}", ">Before", ">Change", f"By {report.interval}")
    before = report.summary.previous
    for metric, name in _NAMES.items():
        value, previous = getattr(report.summary, metric), getattr(before, metric, None)
        if not value and not previous:
            continue
        trend = report.series.get(metric)
        course = sparkline([point.value for point in trend], plain=plain) if trend is not None else ""
        table.add_row(
            Text(_visitor_name(report) if metric == "visitors" else name),
            Text(value_text(metric, value)),
            Text(value_text(metric, previous)),
            Text(change_text(metric, value, previous)),
            Text(course),
        )
    return table


def _visitor_name(report: Report) -> str:
    return people_of(0, 2, report).partition(" ")[2].capitalize()


def value_text(metric: str, value: float | None) -> str:
    """A value in the unit that its metric's name ends in."""
    if value is None:
        return "-"
    if metric in _SHARES or metric.endswith("_share"):
        return f"{value:.1%}"
    if metric.endswith("_ms"):
        return duration(value / 1000)
    if metric.endswith("_s"):
        return duration(value)
    return f"{value:,}"


def change_text(metric: str, value: float | None, previous: float | None) -> str:
    """By how much it changed: in percent, or, for a share, in points."""
    if value is None or previous is None:
        return "-"
    if metric in _SHARES:
        return f"{(value - previous) * 100:+.1f} pt"
    if not previous:
        return "new" if value else "-"
    return f"{(value - previous) / previous:+.0%}"


def duration(seconds: float) -> str:
    """``0.0 s``, ``12 ms``, ``3.1 s``, ``4 min``, ``2.5 h``, ``3.2 d``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length, most in (("s", 1.0, 100.0), ("min", 60.0, 100.0), ("h", 3600.0, 48.0)):
        if seconds < length * most:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 86400:,.1f} d"


def _tables(report: Report) -> Iterable[Table]:
    visitors, known = _visitor_name(report), report.summary.people > 0
    if report.pages:
        table = _table("Pages", "Page", ">Views", ">Users", ">" + visitors, ">Time", ">p95", ">Errors", "Last")
        for page in report.pages:
            values = page.values
            _row(
                table,
                page.key,
                values["views"],
                values["people"],
                values["visitors"],
                *(value_text(metric, values[metric]) for metric in ("time_s", "p95_ms", "error_rate")),
                _moment(page.last, report),
            )
        yield _cut(table, report.pages.total, len(report.pages))
    if report.users:
        table = _table("People", "User", "Name", ">Views", ">Visits", ">Interactions", "Last seen")
        for user in report.users:
            numbers = (user.values[metric] for metric in ("views", "visits", "interactions"))
            _row(table, user.key, user.label, *numbers, _moment(user.last, report))
        yield _cut(table, report.users.total, len(report.users))
    if any(group.key is not None for group in report.groups):
        table = _table("Groups", "Group", ">People", ">Visits", ">Views", ">Interactions")
        for group in report.groups:
            _row(table, group.key, *(group.values[key] for key in ("people", "visits", "views", "interactions")))
        yield _cut(table, report.groups.total, len(report.groups))
    if report.callbacks:
        table = _table(
            "Callbacks, by the time people waited", "Callback", ">Waited", ">Runs", ">p50", ">p95", ">Errors", ">Idle"
        )
        for run in report.callbacks:
            _row(
                table,
                run.callback,
                duration(run.waiting_ms / 1000),
                run.runs,
                value_text("p50_ms", run.p50_ms),
                value_text("p95_ms", run.p95_ms),
                value_text("error_rate", run.error_rate),
                value_text("no_update_share", run.no_update_share),
            )
        yield _cut(table, report.callbacks.total, len(report.callbacks))
    if report.errors:
        table = _table(
            "Errors", "Error", "Where", ">Count", ">Users" if known else ">" + visitors, "Release", "First", "Last"
        )
        for error in report.errors:
            _row(
                table,
                error.type.rpartition(".")[2],
                error.where or error.callback,
                error.count,
                error.people if known else error.visitors,
                error.release,
                moment(error.first, report.tz)[:10],
                moment(error.last, report.tz)[:10],
            )
        yield _cut(table, report.errors.total, len(report.errors))
    if report.events:
        table = _table("Custom events", "Event", ">Count", ">Users", ">" + visitors, "Last")
        for event in report.events:
            numbers = (event.values[metric] for metric in ("custom_events", "people", "visitors"))
            _row(table, event.key, *numbers, _moment(event.last, report))
        yield _cut(table, report.events.total, len(report.events))
    if report.visits:
        table = _table("Latest visits", "Began", "Who", "From page", "To page", ">Views", ">Actions", ">Lasted")
        for visit in report.visits:
            by = visit.user or (f"visitor {visit.visitor[:6]}" if visit.visitor else None)
            _row(
                table,
                moment(visit.started, report.tz),
                by,
                visit.entry,
                visit.exit,
                visit.views,
                visit.interactions,
                duration(visit.duration_s),
            )
        yield _cut(table, report.visits.total, len(report.visits))


def _table(title: str, *columns: str) -> Table:
    """A leading ``>`` marks a column of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, caption_justify="left")
    for column in columns:
        number = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _cut(table: Table, total: int, shown: int) -> Table:
    if total > shown:
        table.caption = f"  {shown:,} of {total:,}"
    return table


def _row(table: Table, *cells: str | float | None) -> None:
    table.add_row(*(Text(_cell(cell)) for cell in cells))


def _cell(value: str | float | None) -> str:
    if value is None or value == "":
        return "-"
    return printable(value) if isinstance(value, str) else f"{value:,}"


def moment(value: datetime, tz: str) -> str:
    return local(value, zone_of(tz)).strftime("%Y-%m-%d %H:%M")


def _moment(value: datetime | None, report: Report) -> str | None:
    return None if value is None else moment(value, report.tz)


def _both(people: int, visitors: int, visitor: str = "visitor") -> str:
    parts = [many(people, "user")] if people or not visitors else []
    if visitors:
        parts.append(many(visitors, visitor))
    return " + ".join(parts)


def many(count: int, one: str) -> str:
    return f"{count:,} {one if count == 1 else one + 's'}"

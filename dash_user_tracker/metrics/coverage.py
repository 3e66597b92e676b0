"""What could be used and is not: parts of an app, and people with access."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from ..events import ANONYMOUS
from .answers import Adoption, AdoptionRow, UnusedRow
from .arguments import Member, MemberLike, Registry, members_of
from .breakdowns import grouped, none_last
from .checks import check_count, check_range, moment_or_now
from .filters import Filters
from .history import History
from .measures import people_of
from .percentiles import ratio
from .records import RUN, VIEW, Record, callback_of, text_of
from .tables import Rows

#: The longest look back, in days.
LONGEST = 36_500

_NEVER = datetime(1, 1, 1, tzinfo=timezone.utc)


def unused(history: History, registry: Registry, days: int, end: datetime | None, filters: Filters) -> Rows[UnusedRow]:
    """`MetricsReader.get_unused`."""
    check_registry(registry)
    check_count("days", days, 1, LONGEST)
    until = moment_or_now(end).astimezone(timezone.utc)
    last: dict[tuple[str, str], Record] = {}
    for record in history.selected(None, until, filters):
        for used in uses(record):
            last[used] = record
    return unused_rows(registry, until - timedelta(days=days), {used: (at.at, _who(at)) for used, at in last.items()})


def unused_rows(
    registry: Registry, since: datetime, last: dict[tuple[str, str], tuple[datetime, str]]
) -> Rows[UnusedRow]:
    """The answer, where *last* says when, and by whom, each ``(kind, name)`` was used last."""
    rows = []
    for kind, names in (("page", registry.pages), ("callback", registry.callbacks), ("control", registry.controls)):
        found = [UnusedRow(kind, name, *last.get((kind, name), (None, None))) for name in names]
        rows += sorted(
            (row for row in found if row.last is None or row.last < since),
            key=lambda row: (row.last or _NEVER, row.name),
        )
    return Rows(tuple(rows))


def uses(record: Record) -> Iterable[tuple[str, str]]:
    """What of an app an event uses."""
    if record.kind == VIEW:
        return [("page", name) for name in {record.route, record.path} if name is not None]
    if record.kind != RUN:
        return []
    callback, trigger = callback_of(record.data), text_of(record.data.get("trigger"))
    found = [("callback", callback)] if callback is not None else []
    return found + ([("control", trigger)] if record.active and trigger is not None else [])


def _who(record: Record) -> str:
    return record.actor.user or ANONYMOUS


def check_registry(registry: object) -> None:
    """ValueError where *registry* is none."""
    if not isinstance(registry, Registry):
        raise ValueError(f"registry must be a Registry(pages=..., callbacks=..., controls=...), got {registry!r}")


def adoption(
    history: History, roster: Iterable[MemberLike], start: datetime | None, end: datetime | None, filters: Filters
) -> Adoption:
    """`MetricsReader.get_adoption`."""
    members = members_of(roster)
    check_range(start, end)
    selected = [record for record in history.selected(None, end, filters) if record.active]
    active = people_of(record.actor for record in selected if start is None or record.at >= start)
    return adoption_of(members, active, people_of(record.actor for record in selected))


def adoption_of(members: Iterable[Member], active: set[str], ever: set[str]) -> Adoption:
    """The answer, where these people were *active*, and those *ever* seen."""
    everybody = list(members)
    groups = grouped(everybody, lambda member: member.group)
    return Adoption(
        everybody=_row(None, everybody, active, ever),
        groups=Rows(tuple(_row(name, groups[name], active, ever) for name in sorted(groups, key=none_last))),
    )


def _row(group: str | None, members: Iterable[Member], active: set[str], ever: set[str]) -> AdoptionRow:
    eligible = {member.user_id for member in members}
    return AdoptionRow(
        group=group,
        eligible=len(eligible),
        active=len(eligible & active),
        share=ratio(len(eligible & active), len(eligible)),
        never=tuple(sorted(eligible - ever)),
    )

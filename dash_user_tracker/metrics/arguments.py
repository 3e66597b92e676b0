"""What some questions need to be told: steps of a funnel, what an app has, who has access."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

import attrs

STEP_KINDS = ("page", "control", "event")


@attrs.frozen
class Step:
    """One step of a funnel: a *page* that is viewed, a *control* that is used, or a custom *event*.

    A page is a route or a path, a control ``id.property``, an event the name it was tracked
    by. As text: ``page:/orders``, ``control:region.value``, ``event:export``.
    """

    kind: str
    name: str

    @classmethod
    def of(cls, step: Step | str) -> Step:
        """The step that a text names; ValueError where it names none."""
        if isinstance(step, Step):
            kind, name = step.kind, step.name
        else:
            kind, _, name = step.partition(":") if isinstance(step, str) else (None, "", "")
        if kind not in STEP_KINDS or not isinstance(name, str) or not name:
            raise ValueError(
                "a step must be 'page:/orders', 'control:region.value' or 'event:export' "
                f"(or a Step with such a kind and name), got {step!r}"
            )
        return step if isinstance(step, Step) else cls(kind, name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def steps_of(steps: Sequence[Step | str]) -> tuple[Step, ...]:
    """The steps of a funnel; ValueError where there are none."""
    if isinstance(steps, (str, Step)) or not steps:
        raise ValueError(f"steps must be a sequence of at least one step, such as ['page:/orders'], got {steps!r}")
    return tuple(map(Step.of, steps))


def _names(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f"names must be a sequence of texts, got the text {value!r}")
    return tuple(sorted(set(value)))


@attrs.frozen(kw_only=True)
class Registry:
    """What an app has, whether anybody uses it or not.

    *pages* are routes or paths, *callbacks* labels (``module:function``), *controls*
    ``id.property`` of inputs that people change.
    """

    pages: tuple[str, ...] = attrs.field(default=(), converter=_names)
    callbacks: tuple[str, ...] = attrs.field(default=(), converter=_names)
    controls: tuple[str, ...] = attrs.field(default=(), converter=_names)


@attrs.frozen
class Member:
    """Somebody who has access, under the ``user_id`` that events carry; *group* None: in none."""

    user_id: str
    group: str | None = None


#: A member, a user id, or a mapping with ``user_id`` and perhaps ``group``.
MemberLike = Union[Member, str, Mapping[str, Any]]


def members_of(roster: Iterable[MemberLike]) -> tuple[Member, ...]:
    """The members of a roster, each once; somebody in two groups is two members."""
    if isinstance(roster, (str, Mapping)):
        raise ValueError(f"roster must be a sequence of user ids or Members, got {type(roster).__name__}")
    return tuple(dict.fromkeys(map(_member, roster)))


def _member(entry: MemberLike) -> Member:
    if isinstance(entry, Mapping):
        entry = Member(entry.get("user_id") or entry.get("id") or "", entry.get("group"))
    elif isinstance(entry, str):
        entry = Member(entry)
    if not isinstance(entry, Member) or not isinstance(entry.user_id, str) or not entry.user_id:
        raise ValueError(f"a member of the roster must be a user id, or have a text 'user_id', got {entry!r}")
    return entry

"""What requests counted as that said the same before: mostly a page's callbacks, over and over."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import attrs

from .classify import CALLBACK, DOCUMENT
from .events import Event
from .marks import Mark
from .request import CallbackRequest, Observation
from .shared import Shared, SharedData

#: Verdicts that are kept.
MOST = 256

_DAY = 86_400  # seconds; a visitor is another one the next day


@attrs.frozen
class Verdict:
    """What a request counts as, whenever it comes and however long it takes."""

    page: str
    why: str
    events: tuple[tuple[str, tuple[Shared, ...]], ...]  # names, and the parts of the data that are not its measures


class Verdicts:
    """Remembers verdicts by what requests said. Not thread-safe: the worker's."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Verdict] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, said: Hashable) -> Verdict | None:
        """The verdict on a request that said the same."""
        return self._kept.get(said)

    def keep(self, said: Hashable, page: str, why: str, events: Sequence[Event]) -> None:
        """Remember what a request counted as; nothing where *said* is None."""
        if said is None:
            return
        if len(self._kept) >= MOST:
            self._kept.clear()
        told = tuple((event.event, event.data.parts) for event in events if isinstance(event.data, SharedData))
        self._kept[said] = Verdict(page, why, told)


def said_by(
    seen: Observation, texts: tuple[Any, ...], call: CallbackRequest | None, mark: Mark | None, state: Hashable
) -> Hashable:
    """All that a verdict on a request of a Dash app depends on, *texts* and the app's *state* among it.

    None where more than that decides: what was told before, or how a background run went on.
    """
    if (
        seen.kind not in (DOCUMENT, CALLBACK)
        or seen.error is not None
        or seen.custom
        or seen.answer is not None
        or seen.status.__class__ is not str
        or (mark is not None and mark.views)
        or (seen.kind == CALLBACK and (call is None or "cacheKey=" in seen.query or "cancelJob=" in seen.query))
    ):
        return None
    user = seen.user
    return (
        texts,
        seen.kind, seen.status, seen.html, seen.endpoint, seen.proxied, seen.foreign,
        (user.id, user.email, user.full_name) if user is not None else None,
        (call.output, call.changed, call.pathname) if call is not None else None,
        (mark.page_load, mark.address, mark.action == 0, mark.fresh) if mark is not None else None,
        seen.received // _DAY, state,
    )  # fmt: skip

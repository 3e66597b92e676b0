"""What requests counted as that said the same before: mostly a page's callbacks, over and over."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import attrs

from .classify import CALLBACK, DOCUMENT
from .codec import Frame
from .events import Event
from .marks import Mark
from .page_data import Page
from .request import NOTHING_RARE, RARE, RECEIVED, SAID, TEXT_LIMIT, Observation
from .shared import Shared, SharedData

#: Verdicts that are kept: of some hundred people who use the app at a time. Each takes 5 KB.
MOST = 1024

_DAY = 86_400  # seconds; a visitor is another one the next day


@attrs.define(eq=False)
class Verdict:
    """What a request counts as, whenever it comes, however long it takes and whichever load of its page sent it."""

    seen: Observation  # the first that said so
    page: Page  # of the request that was read last
    status: int
    why: str
    names: tuple[str, ...]  # of its events
    others: tuple[tuple[Shared, ...], ...]  # of each, the parts of the data beside the page and the measures
    _shared: tuple[Shared, ...] = ()  # what its events have in common, if there are any
    # Of each event, once they are asked for.
    _parts: list[tuple[Shared]] = attrs.field(factory=list)
    _frames: list[Frame] = attrs.field(factory=list)

    def take(self, page: Page, data: Shared) -> None:
        """From now on it is about *page*, whose events have *data* in common."""
        self.page = page
        self._shared = (data,)
        self._parts = []
        self._frames = []

    def parts(self) -> list[tuple[Shared]]:
        """Of each event, all the data but the measures, as one part."""
        if not self._parts:
            self._parts = [(Shared.of(*self._shared, *other),) for other in self.others]
        return self._parts

    def frames(self) -> list[Frame]:
        """Of each event, the line of JSON but for its id, its moment and its measures."""
        if not self._frames:
            self._frames = [Frame.of(name, (*self._shared, *other)) for name, other in zip(self.names, self.others)]
        return self._frames


class Verdicts:
    """Remembers verdicts by what requests said. Not thread-safe: the worker's."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Verdict] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, said: Hashable) -> Verdict | None:
        """The verdict on a request that said the same."""
        try:
            return self._kept.get(said)
        except TypeError:  # an odd server's environ may hold anything
            return None

    def keep(self, said: Hashable, seen: Observation, page: Page, why: str, events: Sequence[Event]) -> None:
        """Remember what a request, of which *said* is all that its verdict depends on, counted as."""
        if seen.kind == CALLBACK:
            # How a background run goes on depends on what was told before.
            if seen.call is None or "cacheKey=" in seen.query or "cancelJob=" in seen.query:
                return
        elif seen.kind != DOCUMENT:
            return
        if sum([len(value) for value in seen if isinstance(value, str)]) > TEXT_LIMIT:
            return  # hardly any browser sends so much text
        if len(self._kept) >= MOST:
            self._kept.clear()
        parts = [event.data.parts for event in events if isinstance(event.data, SharedData)]
        names, others = tuple([event.event for event in events]), tuple([one[1:] for one in parts])
        verdict = Verdict(seen, page, seen.status_code, why, names, others)
        if parts:
            verdict.take(page, parts[0][0])
        try:
            self._kept[said] = verdict
        except TypeError:
            return


def said_by(values: tuple[Any, ...], mark: Mark | None, state: Hashable) -> Hashable:
    """All that the verdict on an `Observation` of *values* depends on, the app's *state* among it; but for the load.

    None where more than that decides: an error, an event of the app's own, what was told before.
    """
    if values[RARE:] != NOTHING_RARE or (mark is not None and mark.views):
        return None
    script = None if mark is None else (mark.address, mark.action == 0, mark.fresh)
    return values[:SAID], script, values[RECEIVED] // _DAY, state

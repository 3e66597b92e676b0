"""Background callbacks: one run out of the request that starts it and those that ask for it.

Dash answers the first request with ``{"cacheKey", "job"}``; the renderer then repeats it
with both in the query until an answer has a ``response`` (``dash/_callback.py``). Any
worker may get any of these requests, so a run is told when a worker sees it end, under an
id that is the same on every worker.
"""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs

import attrs

from .shared import Shared

#: Runs that are remembered until they end.
MOST = 10_000
#: Seconds without a word from the browser after which a run counts as abandoned.
PATIENCE = 600.0

OK = "ok"
NO_UPDATE = "no_update"
ERROR = "error"
CANCELLED = "cancelled"
ABANDONED = "abandoned"

_RUNS = uuid.UUID("9d0c2f61-3f0a-4a5e-8a3b-0a6f1c1b7e52")  # namespace of run ids (RFC 4122, 4.3)


@attrs.frozen
class Handle:
    """What a request or an answer says about a background run."""

    cache_key: str
    job: str

    def run_id(self, page_load: str | None) -> str:
        """The same on every worker. The handle is not in it: Dash signs handles, and they are secrets of a page."""
        return str(uuid.uuid5(_RUNS, f"{page_load or ''}/{self.cache_key}/{self.job}"))


def started(answer: bytes | None) -> Handle | None:
    """The run that an *answer* says has begun; None for any other answer."""
    document = _object(answer)
    if document is None or "cacheKey" not in document or document.get("job") is None:
        return None
    return Handle(str(document["cacheKey"]), str(document["job"]))


def polled(query: str) -> Handle | None:
    """The run that a request asks for; None for any other request."""
    if "cacheKey=" not in query:
        return None
    values = parse_qs(query)
    if "cacheKey" not in values:
        return None
    return Handle(values["cacheKey"][0], values.get("job", [""])[0])


def cancelled_jobs(query: str) -> list[str]:
    """The jobs that a request asks to end."""
    return parse_qs(query).get("cancelJob", []) if "cancelJob=" in query else []


def ending(status: int, answer: bytes | None) -> str | None:
    """How a run ended by the answer to a poll; None while it goes on."""
    if status >= 500:
        return ERROR
    if status == 204:
        return NO_UPDATE
    document = _object(answer)
    return OK if document is not None and "response" in document else None


def _object(answer: bytes | None) -> dict[str, Any] | None:
    if not answer:
        return None
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


@attrs.define
class Run:
    """A run of a callback: what its event will have, and when it was (seconds since the epoch)."""

    page: Shared  # what every event of its page has
    callback: str | None  # its label
    output: str
    trigger: str | None
    cause: str
    background: bool
    action: int | None
    request_bytes: int | None
    # of the answer that the event tells of
    status: int
    response_bytes: int
    error: dict[str, str] | None
    begun: float
    heard: float
    cancelled: bool = False  # somebody asked for it


class OpenRuns:
    """The runs that this process saw begin and not end yet. Not thread-safe: the worker's."""

    def __init__(self) -> None:
        #: By run id and job, the longest silent first.
        self.open: OrderedDict[tuple[str, str], Run] = OrderedDict()

    def begin(self, run_id: str, job: str, run: Run) -> None:
        self.open[run_id, job] = run
        if len(self.open) > MOST:
            self.open.popitem(last=False)

    def hear(self, run_id: str, job: str, now: float) -> None:
        """The browser asked for the run."""
        run = self.open.get((run_id, job))
        if run is not None:
            run.heard = now
            self.open.move_to_end((run_id, job))

    def end(self, run_id: str, job: str) -> Run | None:
        """The run, taken out; None where it began in another process."""
        return self.open.pop((run_id, job), None)

    def cancel(self, jobs: list[str]) -> None:
        """Somebody asked for the end of *jobs*; the next poll tells that it has come."""
        for (_, job), run in self.open.items():
            if job in jobs:
                run.cancelled = True

    def abandoned(self, now: float) -> list[tuple[str, Run]]:
        """Those that the browser has not asked for in `PATIENCE` seconds, taken out, with their ids."""
        found = []
        while self.open:
            key, run = next(iter(self.open.items()))
            if now - run.heard < PATIENCE:
                break
            del self.open[key]
            # One that was never asked for here is another worker's to tell.
            if run.heard > run.begun:
                found.append((key[0], run))
        return found

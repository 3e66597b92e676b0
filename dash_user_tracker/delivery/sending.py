"""One batch to the repository, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..codec import event_of
from ..errors import RejectedError, UnavailableError
from ..repositories.base import TrackerRepository
from .process import Batch, Process
from .retry import retry_delay

log = logging.getLogger("dash_user_tracker")

#: Seconds after which events that a receiver keeps failing to take are given up, unless they are on disk.
MAX_AGE = 3600.0

#: Seconds between two log lines about refused events.
_LOG_PERIOD = 60.0


def takes_lines(repository: TrackerRepository) -> bool:
    """Its ``save_events`` takes events as lines of JSON as well."""
    return getattr(repository, "takes_lines", False) is True


class Sender:
    """Calls the repository; one thread of a process at a time."""

    def __init__(self, repository: TrackerRepository) -> None:
        self._repository = repository
        self._reports_losses = hasattr(repository, "dropped")
        self._one_by_one = type(repository).save_events is TrackerRepository.save_events

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """No attempt takes longer than *deadline* (monotonic), where the repository can be told so."""
        if not hasattr(self._repository, "deadline"):
            yield
            return
        self._repository.deadline = deadline
        try:
            yield
        finally:
            self._repository.deadline = None

    def attempt(self, process: Process[Any], batch: Batch) -> bool:
        """One call of the repository; False where the batch has to wait for another."""
        failed = False
        dropped = process.losses() if self._reports_losses else {}
        if dropped != process.reported:
            losses = {reason: count - process.reported.get(reason, 0) for reason, count in dropped.items()}
            self._repository.dropped = losses  # type: ignore[attr-defined]
        try:
            self._save(process, batch)
        except RejectedError as error:
            self._take(process, batch, 0 if self._one_by_one else error.taken)
            refused = self._refused(batch, error)
            del batch.events[:refused]
            process.dropped["rejected"] += refused
            self._failed(process, error, f"the repository refused {refused} events for good")
        except Exception as error:  # noqa: BLE001 - the repository is the owner's code
            self._take(
                process, batch, error.taken if isinstance(error, UnavailableError) and not self._one_by_one else 0
            )
            self._failed(process, error, "events cannot be delivered; they are kept and tried again")
            self._postpone(process, batch, error)
            failed = True
        else:
            self._take(process, batch, len(batch.events))
            self._recovered(process)
            if dropped != process.reported:
                process.reported = dropped
                self._repository.dropped = {}  # type: ignore[attr-defined]
        if batch.events:
            return not failed
        if batch.segment is not None and process.spool is not None:
            process.spool.done(batch.segment)
        process.sent += batch.items
        process.batches += 1
        process.batch = None
        return True

    def _save(self, process: Process[Any], batch: Batch) -> None:
        if not self._one_by_one:
            # A copy: the repository may keep what it is given.
            lines = takes_lines(self._repository)
            events: list[Any] = list(batch.events) if lines else [*map(event_of, batch.events)]
            self._repository.save_events(events)
            return
        while batch.events:
            self._repository.save_event(event_of(batch.events[0]))
            self._take(process, batch, 1)

    def _refused(self, batch: Batch, error: RejectedError) -> int:
        """How many events from the front are lost; at least one where none was taken, or it would go on for ever."""
        left = len(batch.events)
        if self._one_by_one:
            return min(1, left)
        if error.refused is None:
            return left
        return min(left, max(error.refused, 0 if error.taken > 0 else 1))

    def _take(self, process: Process[Any], batch: Batch, count: int) -> None:
        count = min(count, len(batch.events))
        if count > 0:
            del batch.events[:count]
            process.delivered += count
            process.last_success = time.time()

    def _postpone(self, process: Process[Any], batch: Batch, error: Exception) -> None:
        now = time.monotonic()
        if now - batch.since > MAX_AGE and not batch.spooled:
            process.dropped["expired"] += len(batch.events)
            batch.events.clear()
            return
        batch.attempt += 1
        process.retries += 1
        retry_after = error.retry_after if isinstance(error, UnavailableError) else None
        batch.retry_at = now + retry_delay(batch.attempt, retry_after)

    def _failed(self, process: Process[Any], error: Exception, what: str) -> None:
        """One log line for each change of state, with the traceback where the fault is not the network's."""
        process.last_error = f"{type(error).__name__}: {error}"[:500]
        kind = type(error).__name__
        if process.failing == kind:
            return
        process.failing = kind
        if isinstance(error, RejectedError):
            # One refused event in each batch would be two changes of state a second.
            now = time.monotonic()
            if now - process.refusal_logged < _LOG_PERIOD:
                return
            process.refusal_logged = now
        known = isinstance(error, (RejectedError, UnavailableError))
        log.warning("%s: %s", what, process.last_error, exc_info=None if known else error)

    def _recovered(self, process: Process[Any]) -> None:
        if process.failing is not None:
            if process.failing != RejectedError.__name__:
                log.info("events are delivered again")
            process.failing = None

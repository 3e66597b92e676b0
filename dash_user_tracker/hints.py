"""What an operator should know and would not ask: one log line each, once for each process."""

from __future__ import annotations

import logging

log = logging.getLogger("dash_user_tracker")

#: Pages that are shown without the page script, and none with it, before somebody is told.
PAGES = 20


class Hints:
    """Says each thing once. Not thread-safe: the worker's."""

    def __init__(self) -> None:
        self._without_script = 0
        self._with_script = False
        self._key_missed = False

    def page_with_script(self) -> None:
        """A request of the page script's came."""
        self._with_script = True

    def page_without_script(self) -> None:
        """A page of an app that has the page script was shown without it."""
        self._without_script += 1
        if self._without_script == PAGES and not self._with_script:
            log.warning(
                "%d pages were shown and none with the page script, which may be blocked by a Content-Security-Policy "
                "or a log-in; they are counted by the server alone. Run: dash-user-tracker doctor MODULE:APP",
                PAGES,
            )

    def no_visitor_key(self) -> None:
        """An event was made where there is neither a visitor_key nor a SECRET_KEY."""
        if not self._key_missed:
            self._key_missed = True
            log.info(
                "people without a log-in cannot be told apart (visitor is null): set the server's SECRET_KEY, the same "
                "for all workers, or Tracker(visitor_key=...)"
            )

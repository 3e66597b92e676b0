"""What can go wrong, one class per condition."""

from __future__ import annotations


class TrackerError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(TrackerError, ValueError):
    """An argument, or a combination of arguments, cannot work.

    Raised while the tracker is built, never while a request is served.
    """


class NotReadableError(TrackerError, NotImplementedError):
    """The repository stores events but cannot give them back."""


class DecodeError(TrackerError, ValueError):
    """A document is not an event in the documented wire format."""


class RejectedError(TrackerError):
    """The receiver refused the events for good; sending them again cannot help.

    A repository raises it from ``save_event`` or ``save_events``; the events are
    then counted as dropped instead of being tried again.
    """


class UnavailableError(TrackerError):
    """The receiver cannot take events now; they are tried again.

    *retry_after* is the receiver's own wish in seconds, None where it stated none.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SchemaError(TrackerError):
    """The store was written by a newer version, or is not one of ours."""

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


class DeliveryError(TrackerError):
    """The receiver did not take all events of one call.

    *taken*: how many of them, from the front, it has taken all the same.
    """

    def __init__(self, message: str, *, taken: int = 0) -> None:
        super().__init__(message)
        self.taken = taken


class RejectedError(DeliveryError):
    """The receiver refused events for good; sending them again cannot help.

    They are counted as dropped. *refused*: how many after the *taken* ones, None for all
    that are left; what follows them is delivered as usual.
    """

    def __init__(self, message: str, *, taken: int = 0, refused: int | None = None) -> None:
        super().__init__(message, taken=taken)
        self.refused = refused


class UnavailableError(DeliveryError):
    """The receiver cannot take events now; those not *taken* are tried again.

    *retry_after* is the receiver's own wish in seconds, None where it stated none.
    """

    def __init__(self, message: str, *, taken: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, taken=taken)
        self.retry_after = retry_after


class SchemaError(TrackerError):
    """The store was written by a newer version, or is not one of ours."""

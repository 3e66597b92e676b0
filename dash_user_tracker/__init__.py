"""Usage analytics for Dash apps: who views what, what is slow, what fails."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "2.0.0.dev0"

if TYPE_CHECKING:
    from .analytics import TrackerAnalytics as TrackerAnalytics
    from .callbacks import ignore_callback as ignore_callback
    from .events import Event as Event
    from .metrics.arguments import Member as Member
    from .metrics.arguments import Registry as Registry
    from .metrics.arguments import Step as Step
    from .metrics.filters import Filters as Filters
    from .middleware import TrackerMiddleware as TrackerMiddleware
    from .repositories.base import TrackerRepository as TrackerRepository
    from .repositories.console import ConsoleTrackerRepository as ConsoleTrackerRepository
    from .repositories.http import HttpTrackerRepository as HttpTrackerRepository
    from .repositories.memory import MemoryTrackerRepository as MemoryTrackerRepository
    from .repositories.sql import SqlTrackerRepository as SqlTrackerRepository
    from .tracker import Tracker as Tracker

# PEP 562: a collector or a script that only reads must not pay for Dash, nor need an extra it does not use.
_EXPORTS = {
    "ConsoleTrackerRepository": "repositories.console",
    "Event": "events",
    "Filters": "metrics.filters",
    "HttpTrackerRepository": "repositories.http",
    "Member": "metrics.arguments",
    "MemoryTrackerRepository": "repositories.memory",
    "Registry": "metrics.arguments",
    "SqlTrackerRepository": "repositories.sql",
    "Step": "metrics.arguments",
    "Tracker": "tracker",
    "TrackerAnalytics": "analytics",
    "TrackerMiddleware": "middleware",
    "TrackerRepository": "repositories.base",
    "ignore_callback": "callbacks",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])

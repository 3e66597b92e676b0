"""Percentiles, means and shares that do not invent a number for nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least *share* of the values do not exceed (nearest rank); None without values."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def mean(values: Sequence[float]) -> float | None:
    """Their mean, None without values."""
    return math.fsum(values) / len(values) if values else None


def ratio(part: float, whole: float) -> float | None:
    """*part* / *whole*, None where there is no whole."""
    return part / whole if whole else None

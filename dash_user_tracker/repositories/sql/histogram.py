"""Histograms of durations, of which percentiles are estimated within 4 %."""

from __future__ import annotations

import math

import numpy as np

from .packing import Ints

#: Buckets grow by 8 %: what is in one is within 4 % of its middle.
_GROWTH = math.log(1.08)
#: More than any duration needs: a key is ``number * BUCKETS + bucket``.
BUCKETS = 1024
#: The least microseconds of each bucket. Bucket 0 holds what took no time.
_LEAST = np.array(
    [0, *(min(math.ceil(math.exp(bucket * _GROWTH)), (1 << 62) + bucket) for bucket in range(BUCKETS - 1))],
    dtype=np.int64,
)


def buckets_of(microseconds: Ints) -> Ints:
    """The buckets of durations of at least 0."""
    return np.searchsorted(_LEAST, microseconds, side="right") - 1


def middle_of(bucket: int) -> float:
    """Microseconds that stand for all in a bucket."""
    return math.exp((bucket - 0.5) * _GROWTH) if bucket else 0.0


def edges_of(bucket: int) -> tuple[int, int]:
    """The least and the most microseconds of a bucket."""
    return int(_LEAST[bucket]), int(_LEAST[bucket + 1]) - 1


def rank_of(share: float, count: int) -> int:
    """Which of *count* values *share* of them do not exceed: from 1 on, by nearest rank."""
    return max(math.ceil(share * count), 1)


def bucket_at(buckets: Ints, counts: Ints, rank: int) -> tuple[int, int]:
    """The bucket of the value of a rank, and its rank there; *buckets* are in order."""
    reached = np.cumsum(counts)
    place = int(np.searchsorted(reached, rank))
    before = int(reached[place - 1]) if place else 0
    return int(buckets[place]), rank - before


def quantile(buckets: Ints, counts: Ints, share: float) -> float | None:
    """Microseconds that *share* of the values do not exceed, within 4 %; None without values."""
    whole = int(counts.sum())
    if whole <= 0:
        return None
    return middle_of(bucket_at(buckets, counts, rank_of(share, whole))[0])

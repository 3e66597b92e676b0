"""When to try again."""

from __future__ import annotations

import random

#: Seconds; the longest wait between two attempts, unless the receiver asks for more.
LONGEST = 30.0
#: Seconds; a receiver that asks for more is asked again after this.
LONGEST_ASKED = 300.0


def retry_delay(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait before *attempt* (the first retry is 1).

    Full jitter up to 0.5 s times 2 to the power of *attempt*, so that workers which lost
    the same receiver do not come back all at once. A *retry_after* of the receiver is
    the least that is waited (RFC 9110, 10.2.3).
    """
    ceiling = min(LONGEST, 0.5 * 2.0 ** min(attempt, 10))
    delay = random.uniform(0.2, ceiling)
    return delay if retry_after is None else max(delay, min(retry_after, LONGEST_ASKED))

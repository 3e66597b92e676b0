"""What was counted, what was not, and why: this process's last requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, overload

import attrs

#: Requests that are remembered.
REMEMBERED = 200

#: Characters of a page or a reason that are.
_LONGEST = 200


@attrs.frozen
class Explained:
    """One request of the app: *counted* are the names of its events, *why* is in words."""

    when: datetime
    kind: str  # document, boot, callback or report
    page: str
    status: int
    counted: tuple[str, ...]
    why: str

    def to_dict(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "when": self.when.isoformat(), "counted": list(self.counted)}


class Explanation(Sequence[Explained]):
    """The last requests, oldest first; printed, it is a table."""

    def __init__(self, rows: Sequence[Explained] = ()) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Explained: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Explained]: ...

    def __getitem__(self, index: int | slice) -> Explained | Sequence[Explained]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        return [row.to_dict() for row in self._rows]

    def __repr__(self) -> str:
        return f"Explanation of {len(self._rows)} requests\n{self}"

    def __str__(self) -> str:
        if not self._rows:
            return (
                "No request of the app has been read yet in this process. Assets and Dash's own files pass through "
                "and are not listed; with several workers each has its own list."
            )
        head = ("time", "request", "status", "page", "counted", "why")
        table = [
            (
                row.when.strftime("%H:%M:%S.%f")[:-3],
                row.kind,
                str(row.status or "-"),
                row.page if len(row.page) <= 40 else row.page[:39] + "…",
                ", ".join(row.counted) or "-",
                row.why,
            )
            for row in self._rows
        ]
        widths = [max(len(line[column]) for line in [head, *table]) for column in range(len(head) - 1)]
        return "\n".join(
            "  ".join([*(text.ljust(width) for text, width in zip(line, widths)), line[-1]]).rstrip()
            for line in [head, *table]
        )


class Journal:
    """Keeps the last `REMEMBERED` rows; written by the worker, read from any thread."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, str, str, int, Sequence[str], str]] = deque(maxlen=REMEMBERED)

    def add(self, received: float, kind: str, page: str, status: int, counted: Sequence[str], why: str) -> None:
        # Put into words, and cut, only when somebody reads it.
        self._rows.append((received, kind, page, status, counted, why))

    def read(self) -> Explanation:
        while True:
            try:
                rows = list(self._rows)
            except RuntimeError:  # the worker added a row meanwhile
                continue
            return Explanation([_explained(*row) for row in rows])


def _explained(received: float, kind: str, page: str, status: int, counted: Sequence[str], why: str) -> Explained:
    when = datetime.fromtimestamp(received, timezone.utc)
    # A client's text may hold what a terminal obeys.
    return Explained(when, kind, _printable(page), status, tuple(counted), _printable(why))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:_LONGEST])

"""A copy of what the app itself reads of a small request body."""

from __future__ import annotations

from typing import Any

#: Bytes; a longer body is not copied at all.
LIMIT = 64 << 10


class Tee:
    """``wsgi.input`` (PEP 3333, "Input and Error Streams") that keeps what passes through it.

    Lengths, chunking and errors stay the server's business: nothing is read that the app
    does not read.
    """

    __slots__ = ("_kept", "_stream")

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._kept: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, *args: Any) -> Any:
        data = self._stream.read(*args)
        self._kept.append(data)
        return data

    def readline(self, *args: Any) -> Any:
        line = self._stream.readline(*args)
        self._kept.append(line)
        return line

    def readlines(self, *args: Any) -> Any:
        lines = self._stream.readlines(*args)
        self._kept += lines
        return lines

    def __iter__(self) -> Any:
        for line in self._stream:
            self._kept.append(line)
            yield line

    def content(self) -> bytes | None:
        """What was read; None where it was nothing, or more than its length had announced."""
        kept = self._kept
        content = kept[0] if len(kept) == 1 else b"".join(kept)
        return content if 0 < len(content) <= LIMIT else None

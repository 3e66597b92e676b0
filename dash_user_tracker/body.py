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

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._kept: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, *args: Any) -> Any:
        return self._keep(self._stream.read(*args))

    def readline(self, *args: Any) -> Any:
        return self._keep(self._stream.readline(*args))

    def readlines(self, *args: Any) -> Any:
        lines = self._stream.readlines(*args)
        for line in lines:
            self._keep(line)
        return lines

    def __iter__(self) -> Any:
        for line in self._stream:
            yield self._keep(line)

    def _keep(self, data: Any) -> Any:
        if isinstance(data, bytes) and self._size + len(data) <= LIMIT:
            self._size += len(data)
            self._kept.append(data)
        return data

    def content(self) -> bytes | None:
        """What was read, None where it was nothing."""
        return b"".join(self._kept) or None

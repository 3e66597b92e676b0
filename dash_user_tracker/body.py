"""A copy of what the app itself reads of a small request body."""

from __future__ import annotations

from typing import Any

#: Bytes; a longer body is not copied at all.
LIMIT = 64 << 10

_UNSAID = object()


class Tee:
    """``wsgi.input`` (PEP 3333, "Input and Error Streams") that keeps what passes through it.

    Lengths, chunking and errors stay the server's business: nothing is read that the app
    does not read, and each call reaches the server's stream with the arguments the app gave.
    """

    __slots__ = ("_first", "_more", "_stream")

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._first: Any = None  # mostly there is one read, and a list for it costs as much as the read
        self._more: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: Any = _UNSAID, /, *args: Any, **kwargs: Any) -> Any:
        # The usual call first: to pass any arguments on takes three times as long.
        if size is _UNSAID or args or kwargs:
            data = self._stream.read(*(() if size is _UNSAID else (size, *args)), **kwargs)
        else:
            data = self._stream.read(size)
        if self._first is None:
            self._first = data
        else:
            self._keep([data])
        return data

    def _keep(self, parts: list[Any]) -> None:
        """Of what is not a first read."""
        if self._first is None:
            self._first = b""
        if self._more is None:
            self._more = []
        self._more += parts

    def readline(self, *args: Any, **kwargs: Any) -> Any:
        line = self._stream.readline(*args, **kwargs)
        self._keep([line])
        return line

    def readlines(self, *args: Any, **kwargs: Any) -> Any:
        lines = self._stream.readlines(*args, **kwargs)
        self._keep(lines)
        return lines

    def __iter__(self) -> Any:
        for line in self._stream:
            self._keep([line])
            yield line

    # Python looks these up on the type, so `__getattr__` does not see them.

    def __next__(self) -> Any:
        line = next(self._stream)
        self._keep([line])
        return line

    def __enter__(self) -> Any:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def content(self) -> bytes | None:
        """What was read; None where it was nothing, or more than its length had announced."""
        content = self._first
        if self._more is not None:
            content = b"".join([content, *self._more])
        return content if content and len(content) <= LIMIT else None

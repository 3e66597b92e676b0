"""Events on disk, on their way to the repository: what a killed process leaves, another one finds.

A folder holds *segments*: files of one event as JSON for each line, appended to and, once all of
a segment is delivered, deleted. There is no index to be kept in step with them: that a
segment is there is all that there is to know. A segment belongs to whoever holds the lock (``flock``, which
the system takes from a process that dies, however it dies) of the file named like it::

    5f0c2a91-4711-9d3e01.lock             held for the life of process 4711
    5f0c2a91-4711-9d3e01.000000.ndjson    its segments, oldest first
    5f0c2a91-4711-9d3e01.000001.ndjson

The first part of the names stands for the destination, so that trackers with different
repositories can share a folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import attrs

from ..codec import decode_event
from ..errors import ConfigurationError, DecodeError
from ..events import Event

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("dash_user_tracker")

#: Bytes after which a segment is closed and the next one begun.
SEGMENT_BYTES = 256 << 10
#: Errors of reading that are no fault of the file: no handles or no memory are left, for now.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
#: Times that another process may be faster to lock the file by which this one wants to own its segments.
_TRIES = 10
#: Segments of this process that stay open until they are sent, so that they outlive their folder.
_KEPT_OPEN = 8
_NAME = re.compile(r"([0-9a-f]{8})-\d+-[0-9a-f]+(?=\.)")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_CLOSED = -1


@attrs.define(eq=False)
class Lease:
    """The right to the segments of one process, this one or one that died, for as long as *lock* is open."""

    owner: str  # how the names of its files begin
    lock: int  # file descriptor
    segments: int = 0  # that are not done


@attrs.define(eq=False)
class Segment:
    """One file of events. *items* and *events* are what this process put in; an adopted one has to be read."""

    path: Path
    lease: Lease
    adopted: bool = False
    file: int = _CLOSED
    size: int = 0  # bytes that are whole lines
    events: int = 0
    items: int = 0
    begun: float = 0.0  # monotonic

    def close(self) -> None:
        if self.file != _CLOSED:
            os.close(self.file)
            self.file = _CLOSED


class Spool:
    """What one process has in a folder of segments. Thread-safe; touches no disk before `append` or `adopt`.

    A segment that `take` gave out stays until it is `done`. All of it is local and
    survives the end of the process, not that of the machine: nothing is synced.
    """

    def __init__(self, folder: Path, destination: str, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._key = hashlib.sha256(destination.encode("utf-8", "replace")).hexdigest()[:8]
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(1, max_bytes // 4))
        self._lock = threading.Lock()
        self._own: Lease | None = None
        self._number = 0
        self._open: Segment | None = None
        self._waiting: deque[Segment] = deque()
        self._taken: Segment | None = None
        self._dropped: list[Segment] = []
        self._leases: list[Lease] = []
        self._strangers_told = False

    # -- writing ---------------------------------------------------------------------------

    def append(self, lines: bytes, *, events: int, items: int) -> None:
        """Write whole *lines*. Older segments may have to go for them, see `dropped`.

        OSError where that is not possible; nothing of *lines* is kept then.
        """
        with self._lock:
            segment = self._open
            if segment is None:
                self._make_room()
                segment = self._open = self._new_segment()
            try:
                _write(segment.file, lines)
            except BaseException:
                # The lines before stay good: the file ends where they do, and nothing is appended to a torn line.
                with contextlib.suppress(OSError):
                    os.ftruncate(segment.file, segment.size)
                self._seal()
                raise
            segment.size += len(lines)
            segment.events += events
            segment.items += items
            if segment.size >= self._segment_bytes:
                self._seal()

    def dropped(self) -> list[Segment]:
        """The segments that had to go to keep the bound, each told once, also where nothing was written after all."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
            return dropped

    def _make_room(self) -> None:
        """Drop the oldest segments until there is room for one more; OSError, and none, where that does not suffice."""
        missing = sum(size for _, size in self._files()) + self._segment_bytes - self._max_bytes
        if missing > sum(segment.size for segment in self._waiting):
            raise OSError(errno.ENOSPC, f"the spool has its {self._max_bytes} bytes")
        while missing > 0:
            segment = self._waiting.popleft()
            missing -= segment.size
            if segment.adopted:
                with contextlib.suppress(OSError):  # its process had sent it after all
                    segment.events = _content(segment).count(b"\n")
            self._remove(segment)
            self._dropped.append(segment)

    def _new_segment(self) -> Segment:
        lease = self._own
        if lease is None or not self._lock_file(lease.owner).exists():
            lease = self._own = self._register()
        path = self._folder / f"{lease.owner}.{self._number:06d}.ndjson"
        file = os.open(path, _CREATE | os.O_EXCL, 0o600)
        self._number += 1
        lease.segments += 1
        return Segment(path, lease, file=file, begun=time.monotonic())

    def _register(self) -> Lease:
        """A lease of this process's own. A new one where somebody removed the files of the last."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_TRIES):
            owner = f"{self._key}-{os.getpid()}-{os.urandom(4).hex()}"
            lease = self._lease(owner, os.O_EXCL)
            if lease is not None:  # else another process adopted the file before it was locked
                return lease
        raise OSError(errno.EAGAIN, "the folder gives no locks")

    def _seal(self) -> None:
        segment, self._open = self._open, None
        if segment is None:
            return
        if segment.size == 0:
            self._remove(segment)
            return
        if len(self._waiting) >= _KEPT_OPEN:
            segment.close()
        self._waiting.append(segment)

    # -- sending ---------------------------------------------------------------------------

    def take(self, age: float = 0.0) -> Segment | None:
        """The oldest segment that is complete or was begun at least *age* seconds ago; None where there is none."""
        with self._lock:
            if not self._waiting and self._open is not None and time.monotonic() - self._open.begun >= age:
                self._seal()
            self._taken = self._waiting.popleft() if self._waiting else None
            return self._taken

    def read(self, segment: Segment) -> tuple[list[Event], int]:
        """The events of a segment, and how many more were in it and cannot be read.

        OSError where another attempt may succeed.
        """
        try:
            content = _content(segment)
        except FileNotFoundError:
            # Of an adopted one: the process that it belonged to had sent it after all.
            return [], segment.events
        except OSError as error:
            if error.errno in _PASSING:
                raise
            log.warning("a segment of the spool cannot be read: %s", error.strerror)
            return [], max(segment.events, 1)
        events = []
        unreadable = 0
        # A torn last line was never taken over by anybody: without its end it is no line.
        for line in content.splitlines(keepends=True):
            if line.endswith(b"\n"):
                try:
                    events.append(decode_event(line))
                except DecodeError:
                    unreadable += 1
        return events, max(unreadable, segment.events - len(events))

    def put_back(self, segment: Segment) -> None:
        """The segment is the next to be taken again."""
        with self._lock:
            self._taken = None
            self._waiting.appendleft(segment)

    def done(self, segment: Segment) -> None:
        """Nothing of the segment is needed any more."""
        with self._lock:
            self._taken = None
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        segment.close()
        with contextlib.suppress(OSError):
            segment.path.unlink()
        lease = segment.lease
        lease.segments -= 1
        if lease.segments == 0 and lease is not self._own:
            self._give_back(lease)

    def _give_back(self, lease: Lease) -> None:
        if lease.segments == 0:
            with contextlib.suppress(OSError):
                self._lock_file(lease.owner).unlink()
        with contextlib.suppress(ValueError):
            self._leases.remove(lease)
            os.close(lease.lock)

    # -- what others left --------------------------------------------------------------------

    def adopt(self) -> int:
        """Take over the segments of processes that ended; how many there were.

        OSError where the folder cannot be read.
        """
        with self._lock:
            mine = {lease.owner for lease in self._leases}
            owners = {found[0] for path, _ in self._files("") if (found := _NAME.match(path.name))} - mine
            if not self._strangers_told:
                self._strangers_told = True
                self._tell_of_strangers(owners)
            adopted = 0
            for owner in sorted(owners):
                if owner.startswith(self._key + "-"):
                    adopted += self._adopt(owner)
            return adopted

    def _adopt(self, owner: str) -> int:
        try:
            lease = self._lease(owner)
        except OSError:  # another user's
            return 0
        if lease is None:
            return 0
        for path, size in sorted(self._files(), key=lambda found: found[0].name):
            if path.name.startswith(owner + "."):
                lease.segments += 1
                self._waiting.append(Segment(path, lease, adopted=True, size=size))
        if lease.segments == 0:
            self._give_back(lease)
        return lease.segments

    def _tell_of_strangers(self, owners: set[str]) -> None:
        """Segments that nobody will deliver are worth a line: an endpoint was changed before the spool was empty."""
        left = 0
        for owner in owners:
            if not owner.startswith(self._key + "-"):
                with contextlib.suppress(OSError):
                    lease = self._lease(owner)
                    if lease is not None:
                        left += 1
                        lease.segments = -1  # not ours to remove
                        self._give_back(lease)
        if left:
            log.warning(
                "the spool %s holds events of %d ended processes for another repository or address; they stay there "
                "until a tracker with that one runs",
                self._folder,
                left,
            )

    def _lease(self, owner: str, more: int = 0) -> Lease | None:
        """The lease of *owner*'s segments; None where its process lives. OSError where the folder gives no locks."""
        path = self._lock_file(owner)
        lock = os.open(path, _CREATE | more, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Removed between the two calls: a lock on it keeps nobody away.
            held = os.fstat(lock).st_nlink > 0
        except BlockingIOError:
            held = False
        except OSError:
            os.close(lock)
            if more:  # just made
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        if not held:
            os.close(lock)
            return None
        lease = Lease(owner, lock)
        self._leases.append(lease)
        return lease

    # -- all ---------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Bytes of all that this process has to deliver."""
        with self._lock:
            return sum(segment.size for segment in self._all())

    @property
    def events(self) -> int:
        """Events that are not delivered; those of an adopted segment are not known before it is read."""
        with self._lock:
            return sum(segment.events for segment in self._all())

    def _all(self) -> Iterator[Segment]:
        yield from self._waiting
        for segment in (self._open, self._taken):
            if segment is not None:
                yield segment

    def close(self) -> None:
        """Leave what is there to others. Idempotent."""
        with self._lock:
            self._seal()
            for lease in self._leases.copy():
                self._give_back(lease)
            self.forget()

    def forget(self) -> None:
        """Close all files: in a forked child the parent's are no business of its own.

        Without this, a child that lives on would keep a dead parent's segments locked. Takes no lock, since
        another thread may have held it when the process forked.
        """
        for segment in self._all():
            with contextlib.suppress(OSError):
                segment.close()
        for lease in self._leases:
            with contextlib.suppress(OSError):
                os.close(lease.lock)
        self._leases, self._own, self._open, self._taken = [], None, None, None
        self._waiting.clear()

    def _lock_file(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"

    def _files(self, end: str = ".ndjson") -> list[tuple[Path, int]]:
        """The plain files in the folder, with their sizes; none where there is no folder."""
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        about = entry.stat(follow_symlinks=False)
                        if entry.name.endswith(end) and stat.S_ISREG(about.st_mode):
                            found.append((Path(entry.path), about.st_size))
        except FileNotFoundError:
            pass
        return found


def _absolute(folder: str | os.PathLike[str]) -> Path:
    return Path(folder).absolute()


@attrs.frozen
class Spooling:
    """Where and how to keep events on disk. `ConfigurationError` where that cannot work here.

    *durable*: an event is on disk before the answer of its request ends. *max_bytes* bounds the folder, for all its
    processes together; the oldest go first.
    """

    folder: Path = attrs.field(converter=_absolute)
    durable: bool = False
    max_bytes: int = 64 << 20

    def __attrs_post_init__(self) -> None:
        if fcntl is None:
            raise ConfigurationError("spool needs flock, which this system does not have: leave it out")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(f"spool must be a folder, got the file {str(self.folder)!r}")

    def open(self, destination: str) -> Spool:
        """The view of this process, of what is on its way to *destination*."""
        return Spool(self.folder, destination, max_bytes=self.max_bytes)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _content(segment: Segment) -> bytes:
    if segment.file == _CLOSED:
        # Bounded: a line that is still being written by a sender of ours is not read.
        return segment.path.read_bytes()
    return os.pread(segment.file, segment.size, 0)

"""Connections on which the head of an answer comes within the time to read, or not at all.

A timeout of a socket starts anew with each byte (``socket.settimeout``), so that a receiver, or a proxy on the way, of
which a byte of a header comes now and then could hold an attempt without end.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import requests.adapters
import urllib3
from urllib3 import poolmanager


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Requests' own adapter with such connections, also through an HTTP proxy."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        _bound(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(*arguments, **named)
        _bound(manager)
        return manager


def _bound(manager: urllib3.PoolManager) -> None:
    if manager.pool_classes_by_scheme is poolmanager.pool_classes_by_scheme:  # a SOCKS proxy has its own
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _Reader(io.RawIOBase):
    """What comes from a socket, until a moment."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, timeout: float) -> None:
        self._raw = raw
        self._connection = connection
        self._timeout = timeout
        #: Monotonic; None for no such moment.
        self.until: float | None = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.until is None:
            return self._raw.readinto(buffer)
        left = self.until - time.monotonic()
        if left <= 0:
            raise socket.timeout("the head of the answer did not end in time")
        self._connection.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            # What comes behind a proxy's answer has all of its time.
            self._connection.settimeout(self._timeout)

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        timeout = getattr(sock, "gettimeout", lambda: None)()
        self._reader: _Reader | None = None
        if timeout:
            self._reader = _Reader(self.fp.detach(), sock, timeout)
            self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self._reader is not None:
            self._reader.until = None  # a body may be long


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _Answer


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _Answer


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection

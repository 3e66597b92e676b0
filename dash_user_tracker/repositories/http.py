"""Events over HTTP, to any receiver that speaks the documented protocol."""

from __future__ import annotations

import copy
import email.utils
import encodings.idna  # noqa: F401 - see "lazy imports" below
import json
import math
import netrc  # noqa: F401 - see "lazy imports" below
import os
import re
import time
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
import requests
import urllib3.exceptions

from .. import __version__
from ..codec import EventOrLine, id_of, line_of, to_json
from ..errors import (
    ConfigurationError,
    DeliveryError,
    NotReadableError,
    RejectedError,
    TrackerError,
    UnavailableError,
)
from ..events import Event
from ..metrics.queries import Query
from .base import DEFAULT_LIMIT, TrackerRepository, check_limit, check_range
from .http_connections import BoundedAdapter
from .http_metrics import RemoteMetrics

# Lazy imports: socket and requests import idna and netrc at the first request, which is on the worker thread. A
# process that forks just then hands its child an import lock that nobody releases.

#: Response header by which a receiver says how many events it takes at once.
BATCH_HEADER = "Dash-User-Tracker-Batch"
#: Events in one batch where ``batch=True`` and the receiver named no number.
BATCH_SIZE = 500
#: Bytes; a batch above it is compressed.
GZIP_ABOVE = 1024
#: Events that are compressed together, and the window that has zlib write gzip (RFC 1952).
_AT_ONCE = 40
_GZIP = 16 + zlib.MAX_WBITS
#: Seconds; a receiver that asks for more patience gets this.
LONGEST_RETRY_AFTER = 300.0

_BATCHES = uuid.UUID("0b0a6c2f-6a2c-4f0c-9f39-3d6d0f3c5f7e")  # the name space of batch ids, drawn once
_TRY_AGAIN = (408, 425, 429)
_TOO_LARGE = 413
_MAX_REPLY = 64 << 10  # bytes of a reply to a POST; only read to keep the connection
_CHUNK = 64 << 10  # bytes of a stream at once
_MAX_ANSWER = 64 << 20  # bytes of an answer to a query


@attrs.define(eq=False)
class _Pool:
    """The connections of one process."""

    session: requests.Session
    answered: bool = False  # there has been an answer, so the next request may meet a connection that went stale


class HttpTrackerRepository(RemoteMetrics, TrackerRepository):
    """Posts events to *endpoint* and queries the addresses below it.

    *api_key* is sent as ``X-API-Key``; with None there is no such header. *batch* None
    posts events one by one until the receiver's ``Dash-User-Tracker-Batch`` header says
    how many it takes at once; True and False force either. *timeout* is seconds to connect
    and seconds for the head of the answer, then between two bytes of it. A *session* (certificates, proxies) stays
    the caller's to close; a forked child uses a copy of it with connections of its own. How long the head of an
    answer may take is up to its adapters: requests' own wait as long as bytes come.

    Thread-safe. Redirects are not followed: they would carry the key to another host.
    Neither address nor key is in the repr, an error or a log line, apart from scheme and host; urllib3's own
    lines of level DEBUG have the path and query.
    """

    def __init__(
        self,
        endpoint: str,
        api_key: str | None = None,
        *,
        batch: bool | None = None,
        timeout: tuple[float, float] = (3.0, 5.0),  # seconds: a receiver that hangs holds up a shutdown that long
        session: requests.Session | None = None,
    ) -> None:
        self._where = _check_endpoint(endpoint)
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"dash-user-tracker/{__version__}", "Accept-Encoding": "identity"}
        if api_key is not None:
            self._headers["X-API-Key"] = _check_api_key(api_key)
        self._batch = batch
        self._timeout = _check_timeout(timeout)
        self._learned: int | None = None  # events that the receiver takes at once, by its latest word
        self._given = session
        self._pid = os.getpid()
        self._pools: dict[int, _Pool] = {}  # by pid: a connection must not cross a fork
        #: Losses to report with the next batch, by reason. The delivery sets it; it is sent once for each call.
        self.dropped: Mapping[str, int] = {}
        #: Monotonic; when posts have to be over, None for no such moment. The delivery sets it where it has to wait.
        self.deadline: float | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where!r})"

    @property
    def destination(self) -> str:
        return self._endpoint

    def close(self) -> None:
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None and pool.session is not self._given:
            pool.session.close()

    # -- writing -----------------------------------------------------------------

    def save_event(self, event: Event) -> None:
        self.save_events([event])

    @property
    def takes_lines(self) -> bool:
        """`save_events` takes lines of JSON as well; what stands in for it, such as a subclass's, is given events."""
        return all(
            getattr(getattr(self, name), "__func__", None) is getattr(HttpTrackerRepository, name)
            for name in ("save_event", "save_events")
        )

    def save_events(self, events: Sequence[EventOrLine]) -> None:
        """Post *events* in order; an error says how many of them, from the front, were taken."""
        texts, unencodable = _encoded(events)
        dropped = self.dropped
        taken = 0
        while taken < len(texts):
            size = self._batch_size()
            count = min(size or 1, len(texts) - taken)
            try:
                if size is None:
                    self._post_event(events[taken], texts[taken])
                else:
                    self._post_batch(events[taken : taken + count], texts[taken : taken + count], dropped)
                    dropped = {}
            except DeliveryError as error:
                if isinstance(error, RejectedError) and size is not None and self._batch_size() is None:
                    continue  # the receiver no longer takes batches (an older version is back): one by one
                error.taken += taken
                raise
            taken += count
        if unencodable is not None:
            message = f"an event is not JSON: {type(unencodable).__name__}: {unencodable}"
            raise RejectedError(message, taken=taken, refused=1) from unencodable

    def _batch_size(self) -> int | None:
        """Events for one request; None for the documented request of a single event."""
        if self._batch is False:
            return None
        return self._learned or (BATCH_SIZE if self._batch else None)

    def _post_event(self, event: EventOrLine, text: str) -> None:
        # Quoted: an id need not be fit for a header. That of a UUID stays as it is.
        response = self._post(text.encode(), {"Idempotency-Key": quote(id_of(event), safe="", errors="replace")})
        self._check_taken(response, 1)

    def _post_batch(self, events: Sequence[EventOrLine], texts: Sequence[str], dropped: Mapping[str, int]) -> None:
        batch_id = _batch_id(events)
        sent_at = datetime.now(timezone.utc).isoformat()
        head = to_json({"batch_id": batch_id, "sent_at": sent_at, "dropped": dict(dropped)})
        head = f'{head[:-1]},"events":['
        parts = _parts(head, texts, "]}")
        headers = {"Idempotency-Key": batch_id}
        # In ASCII, so that a character is a byte; a comma stands between the texts, and two characters behind the last.
        if len(head) + sum(map(len, texts)) + len(texts) + 1 > GZIP_ABOVE:
            packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
            body = b"".join([*map(packer.compress, parts), packer.flush()])
            headers["Content-Encoding"] = "gzip"
        else:
            body = b"".join(parts)
        response = self._post(body, headers)
        if response.status_code != _TOO_LARGE or len(events) == 1:
            self._check_taken(response, len(events))
            return
        middle = len(events) // 2
        self._post_batch(events[:middle], texts[:middle], dropped)
        try:
            self._post_batch(events[middle:], texts[middle:], {})
        except DeliveryError as error:
            error.taken += middle
            raise

    def _post(self, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        response = self._request(
            "POST",
            self._endpoint,
            data=body,
            headers={"Content-Type": "application/json", **headers},
            timeout=self._time_left(),
        )
        try:
            # Its status is the answer; the rest is read so that the connection can serve again.
            _read_off(response, time.monotonic() + self._timeout[1])
        except (urllib3.exceptions.HTTPError, OSError):
            pass
        finally:
            response.close()
        return response

    def _time_left(self) -> Any:
        """For one post, as requests takes it."""
        if self.deadline is None:
            return self._timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise UnavailableError(f"{self._where} was not asked: there was no time left")
        return urllib3.Timeout(total=left, connect=self._timeout[0], read=self._timeout[1])

    def _check_taken(self, response: requests.Response, count: int) -> None:
        status = response.status_code
        if status in _TRY_AGAIN or status >= 500:
            raise self._unavailable(response)
        self._learned = _batch_limit(response.headers.get(BATCH_HEADER))
        if not 200 <= status < 300:
            raise RejectedError(f"{self._where} answered {status} to {count} event(s){_hint(status)}", refused=count)

    # -- reading -----------------------------------------------------------------

    def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows("/page-views", start, end, limit, automated)

    def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        if user_id in ("", ".", ".."):
            raise ValueError(f"user_id {user_id!r} cannot stand in an address; use get_page_views and choose the rows")
        return self._rows(f"/page-views/user/{quote(user_id, safe='')}", start, end, limit, automated)

    def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows("/page-views/path", start, end, limit, automated, path=path)

    def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._count("/page-views/user-count", start, end, automated)

    def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._count("/page-views/user-count", start, end, automated, path=path)

    def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._count("/page-views/page-count", start, end, automated)

    def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._count("/page-views/page-count", start, end, automated, user_id=user_id)

    def _rows(
        self,
        address: str,
        start: datetime | None,
        end: datetime | None,
        limit: int | None,
        automated: bool | None,
        **wanted: str,
    ) -> dict[str, Any]:
        check_limit(limit)
        if limit is not None:
            wanted["limit"] = str(limit)
        answer = self._get(address, start, end, automated, wanted)
        if isinstance(answer, dict) and _is_count(answer.get("count")):
            rows = answer.get("data")
            if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
                return {"count": answer["count"], "data": rows}
        raise TrackerError(f'{self._where}: {address} must answer {{"count": number, "data": [objects]}}')

    def _count(
        self, address: str, start: datetime | None, end: datetime | None, automated: bool | None, **wanted: str
    ) -> int:
        answer = self._get(address, start, end, automated, wanted)
        count: Any = answer.get("count") if isinstance(answer, dict) else answer
        if not _is_count(count):
            raise TrackerError(f'{self._where}: {address} must answer a number or {{"count": number}}')
        return int(count)

    def _get(
        self,
        address: str,
        start: datetime | None,
        end: datetime | None,
        automated: bool | None,
        wanted: dict[str, str],
    ) -> Any:
        check_range(start, end)
        for name, bound in (("start", start), ("end", end)):
            if bound is not None:
                wanted[name] = bound.astimezone(timezone.utc).isoformat()
        if automated is not None:
            wanted["automated"] = "true" if automated else "false"
        return self._fetch(Query(address, tuple(wanted.items())))

    def _fetch(self, query: Query) -> Any:
        response = self._query(query)
        try:
            return self._answer(response)
        finally:
            response.close()

    def _lines(self, query: Query) -> Iterator[bytes]:
        response = self._query(query)
        try:
            self._check_answered(response)
            for line in response.iter_lines(_CHUNK):
                if line:
                    yield line
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(f"{self._where} broke its answer off: {_reason(error)}") from None
        finally:
            response.close()

    def _query(self, query: Query) -> requests.Response:
        parts = urlsplit(self._endpoint)
        url = parts._replace(path=parts.path.rstrip("/") + query.address, fragment="").geturl()
        if query.body is None:
            return self._request("GET", url, params=query.params, headers={"Accept": "application/json"})
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self._request("POST", url, params=query.params, data=to_json(query.body).encode(), headers=headers)

    def _answer(self, response: requests.Response) -> Any:
        """The JSON that a query was answered with."""
        self._check_answered(response)
        try:
            body = response.raw.read(_MAX_ANSWER + 1)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(f"{self._where} broke its answer off: {_reason(error)}") from None
        if len(body) > _MAX_ANSWER:
            raise TrackerError(
                f"{self._where} answered more than {_MAX_ANSWER >> 20} MB; ask for a lower limit or range"
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise TrackerError(f"{self._where} answered a query with something that is not JSON") from None

    def _check_answered(self, response: requests.Response) -> None:
        status = response.status_code
        if status in (404, 405, 501):
            raise NotReadableError(
                f"{self._where} answered {status}: it stores events but does not answer this query; read from another "
                "repository, or give the receiver the addresses of TrackerRepository's reading methods"
            )
        if status in _TRY_AGAIN or status >= 500:
            raise self._unavailable(response)
        if status != 200:
            raise TrackerError(f"{self._where} answered {status} to a query{_hint(status)}")

    # -- both --------------------------------------------------------------------

    def _request(
        self, method: str, url: str, *, headers: Mapping[str, str], timeout: Any = None, **more: Any
    ) -> requests.Response:
        """The answer, its body unread. Sent again once where a kept connection turned out to be closed."""
        pool = self._pool()
        may_be_stale = pool.answered
        while True:
            try:
                response = pool.session.request(
                    method,
                    url,
                    headers={**self._headers, **headers},
                    timeout=timeout or self._timeout,
                    allow_redirects=False,
                    stream=True,
                    **more,
                )
            except requests.RequestException as error:
                if may_be_stale and _is_cut_off(error):
                    may_be_stale = False
                    continue
                # Not chained: what requests and urllib3 say has the whole address in it.
                raise UnavailableError(f"{self._where} cannot be reached: {_reason(error)}") from None
            pool.answered = True
            return response

    def _pool(self) -> _Pool:
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            pool = self._pools.setdefault(pid, _Pool(self._session(pid)))
        return pool

    def _session(self, pid: int) -> requests.Session:
        if self._given is None:
            return self._own_session()
        if pid == self._pid:
            return self._given
        session = copy.copy(self._given)
        # A copied adapter starts without connections (HTTPAdapter.__setstate__).
        session.adapters = OrderedDict((prefix, copy.copy(adapter)) for prefix, adapter in session.adapters.items())
        return session

    def _own_session(self) -> requests.Session:
        """Reads once what requests reads of the environment for each request: a third of what a post costs."""
        session = requests.Session()
        session.auth = requests.utils.get_netrc_auth(self._endpoint)
        for name, value in session.merge_environment_settings(self._endpoint, {}, None, None, None).items():
            setattr(session, name, value)  # proxies, stream, verify, cert
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, BoundedAdapter())
        return session

    def _unavailable(self, response: requests.Response) -> UnavailableError:
        return UnavailableError(
            f"{self._where} answered {response.status_code}",
            retry_after=parse_retry_after(response.headers.get("Retry-After")),
        )


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` asks for, 0 to 300; None where it says nothing (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
            date = date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)
            seconds = (date - (now or datetime.now(timezone.utc))).total_seconds()
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _read_off(response: requests.Response, deadline: float) -> None:
    """Read a reply as far as it comes before *deadline* (monotonic): one that drips would never end."""
    left = _MAX_REPLY
    while left > 0 and time.monotonic() < deadline:
        # What has arrived, not all that is asked for; urllib3 1 and 2.0 have no read1.
        read1 = getattr(response.raw, "read1", None)
        part = read1(left) if read1 is not None else response.raw.read(1)
        if not part:
            return
        left -= len(part)


def _encoded(events: Sequence[EventOrLine]) -> tuple[list[str], Exception | None]:
    """The events as JSON, up to the first that cannot be, and why it cannot."""
    texts: list[str] = []
    try:
        for event in events:
            texts.append(line_of(event))
    except (TypeError, ValueError, RecursionError) as error:
        return texts, error
    return texts, None


def _parts(head: str, texts: Sequence[str], tail: str) -> Iterator[bytes]:
    """The body of a batch, a few texts at a time: hundreds in one piece take the processor's cache from the app."""
    for first in range(0, len(texts), _AT_ONCE):
        yield f"{',' if first else head}{','.join(texts[first : first + _AT_ONCE])}".encode()
    yield tail.encode()


def _batch_id(events: Sequence[EventOrLine]) -> str:
    """The same for the same events in the same order, in every process."""
    ids = "\n".join([id_of(event) for event in events])
    return str(uuid.uuid5(_BATCHES, ids.encode("utf-8", "backslashreplace").decode()))


def _batch_limit(header: str | None) -> int | None:
    """The number in a ``Dash-User-Tracker-Batch`` header; None where there is none above 0."""
    return int(header) if header is not None and re.fullmatch(r"0*[1-9][0-9]{0,6}", header.strip()) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_cut_off(error: requests.RequestException) -> bool:
    """The connection was there and ended before an answer; not: could not connect, or took too long."""
    return type(error) is requests.ConnectionError and any(
        isinstance(argument, urllib3.exceptions.ProtocolError) for argument in error.args
    )


def _hint(status: int) -> str:
    if 300 <= status < 400:
        return "; redirects are not followed: give the final address as endpoint"
    if status in (401, 403):
        return "; is api_key the one that it expects?"
    return ""


def _reason(error: BaseException) -> str:
    """What the system said, without the address that requests and urllib3 put around it."""
    reason = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            reason = f"{type(cause).__name__}: {cause.strerror or cause}"
        cause = cause.__cause__ or cause.__context__
    return reason


def _check_endpoint(endpoint: str) -> str:
    """Scheme and host of a usable *endpoint*."""
    if not isinstance(endpoint, str):
        raise ConfigurationError(
            f"endpoint must be the receiver's address ('https://usage.example.com/events'), got {endpoint!r}"
        )
    try:
        if re.search(r"[\x00-\x20\x7f]", endpoint):
            raise ValueError
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError
        # What requests itself makes of it; for a host in another script this is also where idna is imported.
        requests.Request("POST", endpoint).prepare()
    except (ValueError, requests.RequestException):
        # Only up to the host: what is in front of an @ is a password, and paths have been used as keys.
        shown = re.sub(r"^(\w*:?//)?(?:[^/?#]*@)?([^/?#]*).*", r"\1\2", endpoint, flags=re.DOTALL)
        raise ConfigurationError(
            "endpoint must be an http or https address with a host ('https://usage.example.com/events'), "
            f"got one that begins {shown!r}"
        ) from None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _check_api_key(api_key: str) -> str:
    if not isinstance(api_key, str):
        raise ConfigurationError(f"api_key must be text or None (no X-API-Key header), got {type(api_key).__name__}")
    if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", api_key):
        raise ConfigurationError(
            f"api_key must be printable ASCII without spaces around it, got {len(api_key)} characters that are not "
            "(a newline at the end of a secret file?); strip it, or pass None for no X-API-Key header"
        )
    return api_key


def _check_timeout(timeout: tuple[float, float]) -> tuple[float, float]:
    try:
        connect, read = timeout
        if 0 < connect < math.inf and 0 < read < math.inf:
            return connect, read
    except (TypeError, ValueError):
        pass
    raise ConfigurationError(f"timeout must be two numbers of seconds above 0, to connect and to read, got {timeout!r}")

"""A receiver that speaks the documented protocol, over a memory repository, on port 0."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections import deque
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from dash_user_tracker.codec import encode_event, event_from_dict, parse_timestamp
from dash_user_tracker.metrics.queries import METHODS, QUESTIONS, arguments_of
from dash_user_tracker.metrics.wire import to_wire
from dash_user_tracker.repositories.memory import MemoryTrackerRepository


@attrs.frozen
class Request:
    """What came over the wire; *body* is decoded JSON, *size* its bytes before decoding."""

    method: str
    target: str
    headers: dict[str, str]
    body: object
    size: int
    connection: int

    @property
    def is_batch(self) -> bool:
        return isinstance(self.body, dict) and "events" in self.body


@attrs.frozen
class Reply:
    """An answer that takes the place of the usual one; status 0 hangs up without any."""

    status: int
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""


@attrs.define(eq=False)
class Receiver:
    """``with Receiver() as receiver:`` serves at ``receiver.url``.

    *batch*: events taken at once, None as a server of the older package. *max_events*:
    a batch with more is answered with 413. *replies* are given first, in order. *counts* are
    answered bare or as an object.
    """

    batch: int | None = None
    max_events: int | None = None
    bare_counts: bool = False
    repository: MemoryTrackerRepository = attrs.field(factory=MemoryTrackerRepository)
    replies: deque[Reply] = attrs.field(factory=deque)
    requests: list[Request] = attrs.field(factory=list)
    connections: int = 0
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Receiver:
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        # Short poll: shutdown() waits for one.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/events"

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def answer(self, request: Request) -> Reply:
        if self.replies:
            return self.replies.popleft()
        parts = urlsplit(request.target)
        method = METHODS.get(parts.path.removeprefix("/events"))
        if method is not None:
            return self._metrics(method, parse_qs(parts.query, keep_blank_values=True), request)
        if request.method == "POST":
            return self._take(request)
        return self._query(request)

    def _metrics(self, method: str, params: dict[str, list[str]], request: Request) -> Reply:
        if request.method != ("POST" if QUESTIONS[method].body else "GET"):
            return Reply(405)
        try:
            arguments = arguments_of(method, params, json.dumps(request.body).encode())
            answer = getattr(self.repository, method)(**arguments)
        except ValueError as error:
            return Reply(400, body=str(error).encode())
        if QUESTIONS[method].answer == "events":
            return Reply(200, body="".join(f"{encode_event(event)}\n" for event in answer).encode())
        return _json({"deleted": answer} if QUESTIONS[method].answer == "deleted" else to_wire(answer))

    def _take(self, request: Request) -> Reply:
        documents = request.body["events"] if request.is_batch else [request.body]
        if self.max_events is not None and len(documents) > self.max_events:
            return Reply(413)
        self.repository.save_events([event_from_dict(document) for document in documents])
        return Reply(202, {"Dash-User-Tracker-Batch": str(self.batch)} if self.batch else {})

    def _query(self, request: Request) -> Reply:
        parts = urlsplit(request.target)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        options = {"start": _moment(query.get("start")), "end": _moment(query.get("end"))}
        if "automated" in query:
            options["automated"] = query["automated"] == "true"
        limit = {"limit": int(query["limit"])} if "limit" in query else {}
        store, address = self.repository, parts.path.removeprefix("/events/page-views")
        if address == "":
            return _json(store.get_page_views(**options, **limit))
        if address == "/path":
            return _json(store.get_page_views_by_path(query["path"], **options, **limit))
        if address.startswith("/user/"):
            return _json(store.get_page_views_by_user(unquote(address[len("/user/") :]), **options, **limit))
        if address == "/user-count" and "path" in query:
            return self._count(store.get_user_count_by_path(query["path"], **options))
        if address == "/user-count":
            return self._count(store.get_user_count(**options))
        if address == "/page-count" and "user_id" in query:
            return self._count(store.get_page_count_by_user(query["user_id"], **options))
        if address == "/page-count":
            return self._count(store.get_page_count(**options))
        return Reply(404)

    def _count(self, number: int) -> Reply:
        return _json(number if self.bare_counts else {"count": number})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the other side hung up: some tests want that
            super().handle_error(*_)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms each time
    receiver: Receiver

    def setup(self) -> None:
        super().setup()
        self.receiver.connections += 1
        self.connection_number = self.receiver.connections

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        text = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
        self._serve(json.loads(text), len(raw))

    def do_GET(self) -> None:
        self._serve(None, 0)

    def _serve(self, body: object, size: int) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, size, self.connection_number)
        self.receiver.requests.append(request)
        reply = self.receiver.answer(request)
        if reply.status == 0:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        pass


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_timestamp(text)


def _json(document: object) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

"""What goes over the wire, what each answer means, and what a connection may do to us."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from contract import view
from http_server import Receiver, Reply, Request

from dash_user_tracker import __version__
from dash_user_tracker.codec import encode_event
from dash_user_tracker.errors import (
    ConfigurationError,
    NotReadableError,
    RejectedError,
    TrackerError,
    UnavailableError,
)
from dash_user_tracker.events import Event
from dash_user_tracker.repositories import http
from dash_user_tracker.repositories.http import HttpTrackerRepository, parse_retry_after

ROOT = Path(__file__).resolve().parent.parent
CERTIFICATE = ROOT / "tests" / "localhost.pem"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def repository(receiver: Receiver) -> Iterator[HttpTrackerRepository]:
    repository = HttpTrackerRepository(receiver.url)
    yield repository
    repository.close()


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def views(count: int, **data: object) -> list[Event]:
    return [view(f"/{n}", **data) for n in range(count)]


# -- lines of JSON -----------------------------------------------------------------------


def test_lines_are_posted_as_the_events_that_they_are(receiver: Receiver) -> None:
    events = views(100)
    lines = [encode_event(event) if number % 2 else event for number, event in enumerate(events)]
    with contextlib.closing(HttpTrackerRepository(receiver.url, batch=True)) as repository:
        assert repository.takes_lines
        repository.save_events(events)
        repository.save_events(lines)
    first, second = receiver.requests
    assert second.body["events"] == first.body["events"] == [event.to_dict() for event in events]
    assert second.headers["idempotency-key"] == first.headers["idempotency-key"]


def test_a_line_alone_is_posted_under_its_id(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    event = view()
    repository.save_events([encode_event(event)])
    [request] = receiver.requests
    assert request.headers["idempotency-key"] == event.id
    assert request.body == event.to_dict()


@pytest.mark.parametrize("name", ["save_event", "save_events"])
def test_who_stands_in_for_a_saving_method_is_given_no_lines(name: str) -> None:
    def look(self: HttpTrackerRepository, events: Any) -> None:
        getattr(HttpTrackerRepository, name)(self, events)

    kind = type("Looking", (HttpTrackerRepository,), {name: look})
    assert not kind("http://127.0.0.1:9/events").takes_lines
    repository = HttpTrackerRepository("http://127.0.0.1:9/events")
    assert repository.takes_lines
    setattr(repository, name, look)
    assert not repository.takes_lines


# -- one event --------------------------------------------------------------------------


def test_one_event_is_posted_to_the_endpoint_as_the_documented_json(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    event = view("/ä", "ada")
    repository.save_event(event)
    [request] = receiver.requests
    assert (request.method, request.target) == ("POST", "/events")
    assert request.body == event.to_dict()
    assert request.headers["idempotency-key"] == event.id
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"dash-user-tracker/{__version__}"
    assert "content-encoding" not in request.headers


def test_without_an_api_key_there_is_no_header_for_it(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    repository.save_event(view())
    repository.get_user_count()
    assert ["x-api-key" in request.headers for request in receiver.requests] == [False, False]


def test_the_api_key_goes_with_every_request(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, "s3cret")
    repository.save_event(view())
    repository.get_user_count()
    repository.close()
    assert [request.headers["x-api-key"] for request in receiver.requests] == ["s3cret", "s3cret"]


def test_an_id_that_is_not_fit_for_a_header_is_quoted(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    event = Event(id="a\r\nX-Evil: ä", event="x", timestamp=datetime.now(timezone.utc), data={})
    repository.save_event(event)
    assert receiver.requests[0].headers["idempotency-key"] == "a%0D%0AX-Evil%3A%20%C3%A4"
    assert receiver.repository.events == [event]


def test_requests_share_a_connection(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    receiver.replies.extend([Reply(200, body=b"thank you"), Reply(204), Reply(202, body=b"x" * 1000)])
    for event in views(4):
        repository.save_event(event)
    repository.get_page_views()
    assert receiver.connections == 1


def test_a_reply_without_end_is_not_read_to_its_end(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    receiver.replies.append(Reply(200, body=b"x" * 10_000_000))
    repository.save_events(views(2))
    assert len(receiver.posts) == 2
    assert receiver.connections == 2


def test_a_reply_that_drips_is_left_after_the_time_to_read() -> None:
    over = threading.Event()
    left = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
            while not over.wait(0.02):
                connection.sendall(b"x")
        left.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        repository = HttpTrackerRepository(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=(5.0, 0.3))
        saving = threading.Thread(target=repository.save_event, args=(view("/"),), daemon=True)
        saving.start()
        saving.join(20)
        try:
            assert not saving.is_alive()
            assert left.wait(20)
        finally:
            over.set()


@pytest.mark.parametrize(
    "drops",
    [[b"H"], [b"HTTP/1.1 200 OK\r\n", b"X"], [b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"], [b"HTTP/1.1 100 Continue\r\n\r\n"]],
    ids=["status", "header", "headers", "continue"],
)
@pytest.mark.parametrize("way", ["http", "https", "proxy"])
def test_a_head_that_drips_is_left_after_the_time_to_read(
    drops: list[bytes], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        if way == "https":
            connection = server_tls().wrap_socket(connection, server_side=True)
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for drop in drops[:-1]:
                connection.sendall(drop)
            while not over.wait(0.02):
                connection.sendall(drops[-1])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        url = f"{'https' if way == 'https' else 'http'}://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        if way == "proxy":  # which is asked for a tunnel
            monkeypatch.setenv("https_proxy", url)
            url = "https://usage.example.com/"
        repository = HttpTrackerRepository(url, timeout=(0.3, 0.3))
        failed: list[str] = []  # an error itself would keep the connection

        def save() -> None:
            try:
                repository.save_event(view("/"))
            except UnavailableError as error:
                failed.append(str(error))

        saving = threading.Thread(target=save, daemon=True)
        saving.start()
        saving.join(10)
        try:
            assert not saving.is_alive()
            assert len(failed) == 1
            assert "certificate" not in failed[0].lower()
        finally:
            over.set()


def test_a_tunnel_that_took_its_time_leaves_the_rest_all_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        time.sleep(0.8)  # the proxy's time
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n")
        time.sleep(0.1)
        connection.sendall(b"\r\n")
        time.sleep(0.5)  # the receiver's, before TLS begins
        with server_tls().wrap_socket(connection, server_side=True) as secured:
            request = b""
            while not request.endswith(b"}"):
                request += secured.recv(65536)
            secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            over.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}/")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        repository = HttpTrackerRepository("https://localhost/", timeout=(1.0, 1.0))
        try:
            repository.save_event(view("/"))
        finally:
            over.set()
            repository.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_long_answer_may_take_longer_than_its_head(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"count": 7}).encode()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        if scheme == "https":
            connection = server_tls().wrap_socket(connection, server_side=True)
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for byte in body:
                time.sleep(0.1)  # the receiver's time
                connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        repository = HttpTrackerRepository(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/", timeout=(5.0, 0.8))
        assert repository.get_user_count() == 7
        repository.close()


def test_posts_end_at_their_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts and never answers
        repository = HttpTrackerRepository(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=(60.0, 60.0))
        repository.deadline = time.monotonic() + 0.3
        with pytest.raises(UnavailableError, match="cannot be reached"):
            repository.save_event(view("/"))
        with pytest.raises(UnavailableError, match="no time left"):
            repository.save_event(view("/"))
        assert time.monotonic() - repository.deadline < 20


# -- batches ----------------------------------------------------------------------------


def test_a_receiver_that_says_nothing_gets_events_one_by_one(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    events = views(3)
    repository.save_events(events)
    assert [request.body for request in receiver.posts] == [event.to_dict() for event in events]


def test_a_receiver_that_takes_batches_gets_them_from_its_first_word_on(repository: HttpTrackerRepository) -> None:
    with Receiver(batch=3) as receiver:
        repository = HttpTrackerRepository(receiver.url)
        events = views(8)
        repository.save_events(events)
        repository.close()
    assert [len(request.body["events"]) if request.is_batch else 0 for request in receiver.posts] == [0, 3, 3, 1]
    assert receiver.repository.events == events


def test_a_batch_has_an_id_the_time_the_losses_and_the_events(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, batch=True)
    repository.dropped = {"queue_full": 3}
    events = views(2)
    before = datetime.now(timezone.utc)
    repository.save_events(events)
    repository.close()
    [request] = receiver.posts
    assert set(request.body) == {"batch_id", "sent_at", "dropped", "events"}
    assert request.headers["idempotency-key"] == request.body["batch_id"] == str(uuid.UUID(request.body["batch_id"]))
    assert before <= datetime.fromisoformat(request.body["sent_at"]) <= datetime.now(timezone.utc)
    assert request.body["dropped"] == {"queue_full": 3}
    assert request.body["events"] == [event.to_dict() for event in events]


def test_losses_are_reported_once_for_each_call() -> None:
    with Receiver(batch=2) as receiver:
        repository = HttpTrackerRepository(receiver.url, batch=True)
        repository.save_event(view())
        repository.dropped = {"queue_full": 3}
        repository.save_events(views(4))
        repository.close()
    assert [request.body["dropped"] for request in receiver.posts] == [{}, {"queue_full": 3}, {}]


def test_batch_false_keeps_to_single_events() -> None:
    with Receiver(batch=100) as receiver:
        repository = HttpTrackerRepository(receiver.url, batch=False)
        repository.save_events(views(3))
        repository.close()
    assert [request.is_batch for request in receiver.posts] == [False] * 3


def test_batch_true_does_not_wait_for_the_receivers_word(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, batch=True)
    repository.save_events(views(3))
    repository.close()
    assert [len(request.body["events"]) for request in receiver.posts] == [3]


@pytest.mark.parametrize("word", ["0", "-1", "many", "", "1e3", "99999999999999999999", "²"])
def test_a_word_that_is_no_number_is_no_word(receiver: Receiver, repository: HttpTrackerRepository, word: str) -> None:
    receiver.replies.append(Reply(200, {"Dash-User-Tracker-Batch": word}))
    repository.save_events(views(2))
    assert [request.is_batch for request in receiver.posts] == [False, False]


@pytest.mark.parametrize("status", [202, 400])
def test_a_receiver_that_no_longer_takes_batches_gets_single_events_again(status: int) -> None:
    with Receiver(batch=10) as receiver:
        repository = HttpTrackerRepository(receiver.url)
        repository.save_events(views(2))
        receiver.batch = None
        if status == 400:
            receiver.replies.append(Reply(400))
        later = [views(2), views(2)]
        for events in later:
            repository.save_events(events)
        repository.close()
    assert receiver.repository.events[2:] == [*later[0], *later[1]]
    assert not receiver.posts[-1].is_batch


def test_a_batch_above_a_kilobyte_is_compressed(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, batch=True)
    events = views(20, user_agent="x" * 100)
    repository.save_events(events)
    repository.close()
    [request] = receiver.posts
    assert request.headers["content-encoding"] == "gzip"
    assert request.size < len(json.dumps(request.body)) / 4
    assert receiver.repository.events == events


def test_a_batch_is_compressed_from_one_byte_above_the_bound(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = views(3, user_agent="\u00e4")
    with contextlib.closing(HttpTrackerRepository(receiver.url, batch=True)) as repository:
        monkeypatch.setattr(http, "GZIP_ABOVE", 1 << 20)
        repository.save_events(events)
        size = receiver.posts[0].size
        for bound in (size, size - 1):
            monkeypatch.setattr(http, "GZIP_ABOVE", bound)
            repository.save_events(events)
    assert ["content-encoding" in request.headers for request in receiver.posts] == [False, False, True]


def test_a_small_batch_and_a_large_event_are_not_compressed(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, batch=True)
    repository.save_event(Event(id="1", event="x", timestamp=datetime.now(timezone.utc), data={}))
    repository.close()
    single = HttpTrackerRepository(receiver.url, batch=False)
    single.save_event(view(user_agent="x" * 5000))
    single.close()
    assert ["content-encoding" in request.headers for request in receiver.posts] == [False, False]


def test_the_same_events_handed_in_again_are_the_same_batch(receiver: Receiver) -> None:
    events = views(3)
    receiver.replies.append(Reply(503))
    repository = HttpTrackerRepository(receiver.url, batch=True)
    with pytest.raises(UnavailableError):
        repository.save_events(events)
    repository.save_events(list(events))
    repository.close()
    other = HttpTrackerRepository(receiver.url, batch=True)  # as after a restart
    other.save_events(events)
    other.save_events(events[:2])
    other.close()
    keys = [request.headers["idempotency-key"] for request in receiver.posts]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert receiver.posts[0].body["events"] == receiver.posts[1].body["events"]


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    with Receiver(max_events=3) as receiver:
        repository = HttpTrackerRepository(receiver.url, batch=True)
        repository.dropped = {"expired": 1}
        events = views(10)
        repository.save_events(events)
        repository.close()
    assert receiver.repository.events == events
    taken = [request.body for request in receiver.posts if len(request.body["events"]) <= 3]
    assert [len(body["events"]) for body in taken] == [2, 3, 2, 3]
    assert [body["dropped"] for body in taken] == [{"expired": 1}, {}, {}, {}]
    assert len({body["batch_id"] for body in taken}) == 4


def test_an_event_that_is_too_large_is_rejected_and_those_before_it_are_taken(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url, batch=True)
    # all four; the first half is taken; the second half; its first is refused alone
    receiver.replies.extend([Reply(413), Reply(200), Reply(413), Reply(413)])
    with pytest.raises(RejectedError, match="answered 413 to 1 event") as caught:
        repository.save_events(views(4))
    repository.close()
    assert (caught.value.taken, caught.value.refused) == (2, 1)


# -- what an answer means ---------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_means_taken(receiver: Receiver, repository: HttpTrackerRepository, status: int) -> None:
    receiver.replies.append(Reply(status))
    repository.save_event(view())
    assert len(receiver.posts) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_these_mean_try_again(receiver: Receiver, repository: HttpTrackerRepository, status: int) -> None:
    receiver.replies.append(Reply(status, {"Retry-After": "7"}))
    with pytest.raises(UnavailableError, match=f"http://127.0.0.1:\\d+ answered {status}$") as caught:
        repository.save_event(view())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [301, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422])
def test_these_mean_refused_for_good(receiver: Receiver, repository: HttpTrackerRepository, status: int) -> None:
    receiver.replies.append(Reply(status, {"Location": receiver.url + "/elsewhere"}))
    with pytest.raises(RejectedError, match=f"answered {status}") as caught:
        repository.save_event(view())
    assert (caught.value.taken, caught.value.refused) == (0, 1)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("reply", "error", "refused"), [(Reply(503), UnavailableError, None), (Reply(400), RejectedError, 1)]
)
def test_an_error_says_how_many_events_were_taken_before_it(
    receiver: Receiver, repository: HttpTrackerRepository, reply: Reply, error: type[Exception], refused: int | None
) -> None:
    receiver.replies.extend([Reply(200), Reply(200), reply])
    with pytest.raises(error) as caught:
        repository.save_events(views(5))
    assert caught.value.taken == 2
    assert getattr(caught.value, "refused", None) == refused
    assert len(receiver.posts) == 3


def test_an_event_that_is_not_json_is_rejected_and_those_before_it_are_taken(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    good, bad = views(2), view(properties={(1, 2): "a key that JSON has not"})
    with pytest.raises(RejectedError, match="an event is not JSON: TypeError") as caught:
        repository.save_events([*good, bad, view()])
    assert (caught.value.taken, caught.value.refused) == (2, 1)
    assert receiver.repository.events == good


NOW = datetime(2025, 1, 30, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("100000", 300.0),
        ("-5", 0.0),
        ("inf", 300.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 30 Jan 2025 12:01:00 GMT", 60.0),
        ("Thu, 30 Jan 2025 12:01:00 -0000", 60.0),
        ("Thu, 30 Jan 2025 11:00:00 GMT", 0.0),
        ("Fri, 31 Jan 2025 12:00:00 GMT", 300.0),
        ("Thu, 99 Jan 2025 12:00:00 GMT", None),
        ("Thu, 30 Jan 99999999999999999999 12:00:00 GMT", None),
        ("Thu, 30 Jan 2025 12:00:00 +99999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_five_minutes(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


# -- the network ------------------------------------------------------------------------


def test_nobody_listening_means_try_again_and_no_traceback_shows_the_address() -> None:
    with Receiver() as receiver:
        endpoint = f"{receiver.url}/t0ken"
    repository = HttpTrackerRepository(endpoint)
    with pytest.raises(UnavailableError, match="cannot be reached: ConnectionRefusedError: ") as caught:
        repository.save_event(view())
    assert "t0ken" not in "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))


def test_a_receiver_that_does_not_answer_means_try_again() -> None:
    release = threading.Event()

    class Hanging(Receiver):
        def answer(self, request: Request) -> Reply:
            release.wait(60)
            return Reply(200)

    with Hanging() as receiver:
        repository = HttpTrackerRepository(receiver.url, timeout=(3.0, 0.05))
        with pytest.raises(UnavailableError, match=r"cannot be reached: .*timed out"):
            repository.save_event(view())
        release.set()
        repository.close()


def test_a_kept_connection_that_went_stale_is_replaced_once_with_the_same_ids(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    first, second = views(2)
    repository.save_event(first)
    receiver.replies.append(Reply(0))  # hangs up while our request is on its way
    repository.save_event(second)
    assert [request.headers["idempotency-key"] for request in receiver.posts] == [first.id, second.id, second.id]
    assert receiver.connections == 2
    assert receiver.repository.events == [first, second]


def test_a_connection_that_is_cut_twice_means_try_again(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    repository.save_event(view())
    receiver.replies.extend([Reply(0), Reply(0)])
    with pytest.raises(UnavailableError, match="cannot be reached: RemoteDisconnected"):
        repository.save_event(view())
    assert len(receiver.posts) == 3


def test_a_new_connection_that_is_cut_is_not_tried_again_at_once(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    receiver.replies.append(Reply(0))
    with pytest.raises(UnavailableError):
        repository.save_event(view())
    assert len(receiver.posts) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("given", [False, True], ids=["own session", "session given"])
def test_a_forked_child_uses_connections_of_its_own(receiver: Receiver, given: bool) -> None:
    session = requests.Session() if given else None
    if session is not None:
        session.headers["X-Team"] = "blue"
    repository = HttpTrackerRepository(receiver.url, session=session)
    repository.save_event(view("/parent"))
    pid = os.fork()
    if pid == 0:
        try:
            repository.save_event(view("/child"))
            repository.close()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    repository.save_event(view("/parent again"))
    repository.close()
    if session is not None:
        session.close()
    assert [(request.body["data"]["path"], request.connection) for request in receiver.posts] == [
        ("/parent", 1),
        ("/child", 2),
        ("/parent again", 1),
    ]
    assert [request.headers.get("x-team") for request in receiver.posts] == ["blue" if given else None] * 3


def test_a_session_that_was_given_is_used_and_not_closed(receiver: Receiver) -> None:
    closed = []

    class Session(requests.Session):
        def close(self) -> None:
            closed.append(self)
            super().close()

    session = Session()
    repository = HttpTrackerRepository(receiver.url, session=session)
    repository.save_event(view())
    repository.close()
    assert closed == []
    session.close()


_FIRST_USE = """
import sys, threading
from dash_user_tracker.events import Event
{setup}
event = Event.new("page_view", {{"path": "/"}})
before = set(sys.modules)
thread = threading.Thread(target=repository.save_events, args=([event],))
thread.start()
thread.join(60)
print(sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("kind", ["http", "sql"])
def test_nothing_is_imported_first_on_the_worker_thread(receiver: Receiver, tmp_path: Path, kind: str) -> None:
    setups = {
        "http": "from dash_user_tracker import HttpTrackerRepository\n"
        f"repository = HttpTrackerRepository({receiver.url.replace('127.0.0.1', 'localhost')!r}, batch=True)",
        "sql": "from dash_user_tracker import SqlTrackerRepository\n"
        f"repository = SqlTrackerRepository('sqlite:///{tmp_path}/usage.db')",
    }
    program = _FIRST_USE.format(setup=setups[kind])
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# -- queries ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments", "target"),
    [
        ("get_page_views", (), "/events/page-views?limit=1000"),
        ("get_page_views_by_user", ("a/b c",), "/events/page-views/user/a%2Fb%20c?limit=1000"),
        ("get_page_views_by_path", ("/a&b",), "/events/page-views/path?path=%2Fa%26b&limit=1000"),
        ("get_user_count", (), "/events/page-views/user-count"),
        ("get_user_count_by_path", ("/",), "/events/page-views/user-count?path=%2F"),
        ("get_page_count", (), "/events/page-views/page-count"),
        ("get_page_count_by_user", ("ada",), "/events/page-views/page-count?user_id=ada"),
    ],
)
def test_a_query_is_a_get_at_the_documented_address(
    receiver: Receiver, repository: HttpTrackerRepository, method: str, arguments: tuple[str, ...], target: str
) -> None:
    getattr(repository, method)(*arguments)
    assert [(request.method, request.target) for request in receiver.requests] == [("GET", target)]


def test_bounds_are_rfc_3339_in_utc_and_left_out_where_there_are_none(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    start = datetime(2025, 1, 30, 15, 0, tzinfo=timezone(timedelta(hours=-5)))
    repository.get_page_views(start, limit=None, automated=False)
    target = "/events/page-views?start=2025-01-30T20%3A00%3A00%2B00%3A00&automated=false"
    assert receiver.requests[0].target == target


def test_an_endpoint_may_end_in_a_slash_and_have_a_query(receiver: Receiver) -> None:
    repository = HttpTrackerRepository(receiver.url + "/?tenant=1")
    repository.get_user_count()
    repository.close()
    assert receiver.requests[0].target == "/events/page-views/user-count?tenant=1"


@pytest.mark.parametrize("body", [b"7", b'{"count": 7}', b'{"count": 7, "more": true}'])
def test_a_count_is_a_number_or_an_object_with_one(
    receiver: Receiver, repository: HttpTrackerRepository, body: bytes
) -> None:
    receiver.replies.append(Reply(200, body=body))
    assert repository.get_user_count() == 7


@pytest.mark.parametrize(
    "body", [b"true", b"null", b"-1", b"1.5", b'"7"', b"[7]", b'{"count": null}', b"{}"], ids=bytes.decode
)
def test_what_is_no_count_is_refused(receiver: Receiver, repository: HttpTrackerRepository, body: bytes) -> None:
    receiver.replies.append(Reply(200, body=body))
    with pytest.raises(TrackerError, match=r"/page-views/user-count must answer a number or"):
        repository.get_user_count()


@pytest.mark.parametrize(
    "body",
    [b"[]", b"7", b'{"count": 1}', b'{"data": []}', b'{"count": true, "data": []}', b'{"count": 1, "data": [1]}'],
    ids=bytes.decode,
)
def test_what_is_no_list_of_rows_is_refused(receiver: Receiver, repository: HttpTrackerRepository, body: bytes) -> None:
    receiver.replies.append(Reply(200, body=body))
    with pytest.raises(TrackerError, match=r"/page-views must answer"):
        repository.get_page_views()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe\xfd", b"[" * 100_000, b'{"count": 1'],
    ids=["empty", "html", "not utf-8", "too deep", "cut off"],
)
def test_an_answer_that_is_not_json_is_a_clear_error(
    receiver: Receiver, repository: HttpTrackerRepository, body: bytes
) -> None:
    receiver.replies.append(Reply(200, body=body))
    with pytest.raises(TrackerError, match="answered a query with something that is not JSON"):
        repository.get_page_views()


def test_an_answer_is_read_up_to_a_bound(
    receiver: Receiver, repository: HttpTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dash_user_tracker.repositories.http._MAX_ANSWER", 1 << 20)
    receiver.replies.append(Reply(200, body=b" " * (2 << 20)))
    with pytest.raises(TrackerError, match="answered more than 1 MB; ask for a lower limit or range"):
        repository.get_page_views()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NotReadableError),
        (405, NotReadableError),
        (501, NotReadableError),
        (401, TrackerError),
        (302, TrackerError),
        (204, TrackerError),
        (429, UnavailableError),
        (500, UnavailableError),
    ],
)
def test_a_query_that_is_not_answered_is_a_clear_error(
    receiver: Receiver, repository: HttpTrackerRepository, status: int, error: type[TrackerError]
) -> None:
    receiver.replies.append(Reply(status, {"Location": receiver.url}))
    with pytest.raises(error, match=f"answered {status}"):
        repository.get_page_views()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("user_id", ["", ".", ".."])
def test_a_user_that_cannot_stand_in_an_address_is_refused(repository: HttpTrackerRepository, user_id: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in an address"):
        repository.get_page_views_by_user(user_id)


# -- construction -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("", "''"),
        ("localhost:8000/events", "'localhost:8000'"),
        ("usage.example.com/t0ken", "'usage.example.com'"),
        ("ftp://example.com/t0ken", "'ftp://example.com'"),
        ("http://", "'http://'"),
        ("https:///t0ken", "'https://'"),
        ("http://user:t0ken@host:port/", "'http://host:port'"),
        ("http://host:99999/t0ken", "'http://host:99999'"),
        ("http://ho st/t0ken", "'http://ho st'"),
        ("http://host/t0ken\n", "'http://host'"),
        ("http://[::1/t0ken", "'http://[::1'"),
    ],
)
def test_an_endpoint_must_be_an_address_and_is_shown_up_to_its_host(endpoint: str, shown: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint must be an http or https address with a host") as caught:
        HttpTrackerRepository(endpoint)
    assert str(caught.value).endswith(f"begins {shown}")
    assert "t0ken" not in "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__)).replace(
        "HttpTrackerRepository(endpoint)", ""
    )


@pytest.mark.parametrize("endpoint", [None, 7, b"http://host/"])
def test_an_endpoint_must_be_text(endpoint: Any) -> None:
    with pytest.raises(ConfigurationError, match="endpoint must be the receiver's address"):
        HttpTrackerRepository(endpoint)


@pytest.mark.parametrize("api_key", ["a\nb", "key\n", " key", "schlüssel", "a\x00", ""])
def test_an_api_key_must_be_fit_for_a_header_and_is_not_shown(api_key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key must be printable ASCII") as caught:
        HttpTrackerRepository("http://host/", api_key)
    assert not api_key or api_key not in str(caught.value)


@pytest.mark.parametrize("api_key", [7, b"key", True])
def test_an_api_key_must_be_text_or_none(api_key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key must be text or None"):
        HttpTrackerRepository("http://host/", api_key)


@pytest.mark.parametrize("timeout", [None, 5, (1,), (0, 5), (1, -1), "35", (1, None), (1, float("inf"))])
def test_a_timeout_must_be_two_positive_numbers(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be two numbers of seconds above 0"):
        HttpTrackerRepository("http://host/", timeout=timeout)


def test_neither_address_nor_key_is_in_the_repr_or_in_the_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    secret = receiver.url.replace("http://", "http://user:t0ken@") + "/t0ken"
    repository = HttpTrackerRepository(secret, "t0ken")
    receiver.replies.append(Reply(500))
    with caplog.at_level(logging.INFO), pytest.raises(UnavailableError) as caught:
        repository.save_event(view())
    repository.close()
    assert repr(repository) == f"HttpTrackerRepository({receiver.url.removesuffix('/events')!r})"
    assert "t0ken" not in repr(repository) + caplog.text + str(caught.value)


def test_construction_connects_to_nobody() -> None:
    started = time.monotonic()
    HttpTrackerRepository("https://usage.invalid:81/x", "key")
    HttpTrackerRepository("https://[2001:db8::1]/x")
    HttpTrackerRepository("https://bücher.example/x")
    assert time.monotonic() - started < 5

"""Real gunicorn workers of every kind, asked over HTTP, with a real receiver."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time

import pytest
from http_server import Receiver
from served import PLAIN, SLOW, TRACKED, answers, ask, free_port, until

#: No line about tracking in the app.
HOOKS = """
import os
from dash_user_tracker import gunicorn as tracking

post_fork, post_worker_init, worker_abort, worker_exit = tracking.hooks(tracker_endpoint=os.environ["SINK"])
"""

#: Functions of the owner's own, and hooks for an app with a tracker.
CHAINED = """
from dash_user_tracker import gunicorn as tracking

def worker_exit(server, worker):
    worker.log.info("my own exit")

worker_exit = tracking.chain(worker_exit, tracking.worker_exit)
post_fork, post_worker_init, worker_abort = tracking.post_fork, tracking.post_worker_init, tracking.worker_abort
"""

WORKERS = {
    "sync": ["-k", "sync"],
    "gthread": ["-k", "gthread", "--threads", "4"],
    "gevent": ["-k", "gevent"],
    "gthread preload": ["-k", "gthread", "--threads", "4", "--preload"],
    "gevent preload": ["-k", "gevent", "--preload"],
}


@pytest.fixture
def receiver():
    with Receiver(batch=100) as receiver:
        yield receiver


@pytest.fixture
def serve(tmp_path, start):
    """``serve(app, configuration, sink, *arguments)``: a port and the program."""

    def serve(app, configuration, sink, *arguments):
        (tmp_path / "served_app.py").write_text(app)
        (tmp_path / "gunicorn.conf.py").write_text(configuration)
        port = free_port()
        program = start("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *arguments, "served_app:server", SINK=sink)
        until(lambda: program.process.poll() is not None or answers(port), program.output())
        assert program.process.poll() is None, program.output()
        return port, program

    return serve


def views(receiver):
    return sorted(event.data["path"] for event in receiver.repository.events if event.event == "page_view")


@pytest.mark.parametrize("worker", WORKERS)
def test_hooks_track_an_app_with_no_line_in_it(serve, receiver, worker):
    port, program = serve(PLAIN, HOOKS, receiver.url, *WORKERS[worker])
    for number in range(40):
        assert ask(port, "GET", f"/page-{number}")[0] == 200
    started = time.monotonic()
    assert program.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started < 5
    assert views(receiver) == sorted(f"/page-{number}" for number in range(40))
    assert {event.data["app_name"] for event in receiver.repository.events} == {"served"}
    assert "Traceback" not in program.output()
    assert "dash_user_tracker" not in program.output()
    if "preload" not in worker:  # which makes gevent patch what the app has imported before
        assert "MonkeyPatchWarning" not in program.output()


@pytest.mark.parametrize(
    ("worker", "configuration"),
    [("gevent", ""), ("gthread", CHAINED), ("gevent preload", CHAINED)],
    ids=["gevent without hooks", "gthread", "gevent preload"],
)
def test_a_tracker_in_the_app_loses_nothing_when_stopped(serve, receiver, worker, configuration):
    port, program = serve(TRACKED, configuration, receiver.url, *WORKERS[worker])
    for number in range(40):
        assert ask(port, "GET", f"/page-{number}")[0] == 200
    assert program.stop(signal.SIGTERM) == 0
    assert views(receiver) == sorted(f"/page-{number}" for number in range(40))
    assert program.output().count("my own exit") == (1 if configuration else 0)
    assert "Traceback" not in program.output()


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_nothing_is_lost_when_workers_are_replaced(serve, receiver, worker):
    port, program = serve(PLAIN, HOOKS, receiver.url, "--max-requests", "7", *WORKERS[worker])
    asked, answered = 0, set()
    while program.output().count("Booting worker") < 4:
        assert asked < 20_000, program.output()
        asked += 1
        try:
            status, _ = ask(port, "GET", f"/page-{asked}")
        except (OSError, http.client.HTTPException):  # a worker that ends hangs up on some
            until(lambda: answers(port), program.output())
            continue
        assert status == 200
        answered.add(f"/page-{asked}")
    until(lambda: answers(port), program.output())  # the newest worker hears the signal to stop
    assert program.stop(signal.SIGTERM) == 0
    assert answered <= set(views(receiver))
    assert len(answered) >= 10
    assert "Traceback" not in program.output()


def hung(port):
    """Send a request that is never answered, and wait until its worker hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/_dash-update-component", SLOW, {"Content-Type": "application/json"})
    try:
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


@pytest.mark.parametrize("configuration", ["", CHAINED], ids=["without hooks", "hooks"])
def test_the_request_that_ran_into_the_timeout_is_delivered(serve, receiver, configuration):
    port, program = serve(TRACKED, configuration, receiver.url, "--timeout", "2")
    hung(port)
    program.wait_for("WORKER TIMEOUT")
    until(lambda: answers(port), program.output())
    calls = [event.data for event in receiver.repository.events if event.event == "callback"]
    assert [(call["outcome"], call["error"]["type"]) for call in calls] == [("error", "SystemExit")]


def test_a_timeout_with_a_hanging_receiver_ends_in_time(serve):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        sink = f"http://127.0.0.1:{silent.getsockname()[1]}/events"
        port, program = serve(TRACKED, CHAINED, sink, "--timeout", "2")
        ask(port, "GET", "/queued")
        hung(port)
        program.wait_for("WORKER TIMEOUT")
        until(lambda: answers(port), program.output())
        # Told before gunicorn killed the worker, which it does a second later.
        assert "events were not delivered when the process ended" in program.output()
        started = time.monotonic()
        assert program.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < 5


def test_hooks_that_fail_leave_the_app_as_it_is(serve, receiver):
    broken = HOOKS.replace("tracker_endpoint=", "repository=lambda: 1 / 0, app_name=")
    port, program = serve(PLAIN, broken, receiver.url)
    assert ask(port, "GET", "/page")[0] == 200
    assert program.stop(signal.SIGTERM) == 0
    assert "post_worker_init failed; the worker goes on without it" in program.output()


def test_an_app_with_a_tracker_is_not_tracked_twice(serve, receiver):
    factory = TRACKED + "\ndef make():\n    return server\n"
    port, program = serve(factory + "\nserver = make()\n", HOOKS, receiver.url)
    ask(port, "GET", "/once")
    assert json.loads(ask(port, "GET", "/stats")[1])["dropped"] == {}
    assert program.stop(signal.SIGTERM) == 0
    assert views(receiver).count("/once") == 1

"""A real uWSGI, asked over HTTP, with a real receiver: ``tox -e uwsgi-new``. It builds from source, so it is no part of
the suite."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Program
from http_server import Receiver
from served import TRACKED, answers, ask, free_port, until

UWSGI = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
#: Later ones always run Python's threads.
THREADS_BY_DEFAULT = tuple(map(int, subprocess.check_output([UWSGI, "--version"]).split(b".")[:3])) >= (2, 0, 27)

#: SIGTERM lets requests end. With die-on-term a worker that is busy ends without Python's exit, and so ours.
GRACEFUL = ["--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]

MODES = {
    "threads": ["--master", "--enable-threads"],
    "preforked": ["--master", "--processes", "2", "--enable-threads"],
    "lazy": ["--master", "--processes", "2", "--enable-threads", "--lazy-apps"],
    "threaded": ["--master", "--processes", "2", "--threads", "4"],
    "as it comes": ["--master", "--processes", "2"],
}


@pytest.fixture
def receiver():
    with Receiver(batch=100) as receiver:
        yield receiver


@pytest.fixture
def serve(tmp_path, environment):
    programs = []

    def serve(*arguments, sink):
        (tmp_path / "served_app.py").write_text(TRACKED)
        port = free_port()
        command = [UWSGI, "--http-socket", f"127.0.0.1:{port}", "--module", "served_app:server", "--need-app"]
        with (tmp_path / "uwsgi.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *GRACEFUL, *arguments],
                cwd=tmp_path,
                env={**environment, "SINK": sink, "VIRTUAL_ENV": sys.prefix},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        programs.append(process)
        program = Program(process, tmp_path / "uwsgi.log")
        # uWSGI cannot be stopped well while a worker is still loading the app.
        loads = 2 if "--lazy-apps" in arguments else 1
        ready = lambda: program.output().count(" ready in ") >= loads and answers(port)  # noqa: E731
        until(lambda: process.poll() is not None or ready(), "uWSGI does not answer")
        assert process.poll() is None, program.output()
        return port, program

    yield serve
    for process in programs:
        if process.poll() is None:
            process.kill()
            process.wait()


def views(receiver):
    return sorted(event.data["path"] for event in receiver.repository.events if event.event == "page_view")


def all_pages(count):
    return sorted(f"/page-{number}" for number in range(count))


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_when_uwsgi_is_stopped(serve, receiver, mode):
    port, program = serve(*MODES[mode], sink=receiver.url)
    for number in range(60):
        assert ask(port, "GET", f"/page-{number}")[0] == 200
    assert program.stop(signal.SIGTERM) == 0
    assert views(receiver) == all_pages(60)
    assert "Traceback" not in program.output()


def test_events_arrive_while_uwsgi_serves(serve, receiver):
    port, _ = serve(*MODES["preforked"], sink=receiver.url)
    for number in range(20):
        ask(port, "GET", f"/page-{number}")
    until(lambda: views(receiver) == all_pages(20), "not all arrived")


def test_a_reload_loses_nothing(serve, receiver):
    port, program = serve(*MODES["preforked"], sink=receiver.url)
    for number in range(10):
        ask(port, "GET", f"/page-{number}")
    program.process.send_signal(signal.SIGHUP)
    until(lambda: views(receiver) == all_pages(10), program.output())


def test_a_receiver_that_is_down_delays_nothing(serve):
    port, program = serve("--master", sink="http://127.0.0.1:9/events")
    started = time.monotonic()
    for number in range(20):
        ask(port, "GET", f"/page-{number}")
    assert time.monotonic() - started < 5
    started = time.monotonic()
    assert program.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started < 6
    assert "20 events were not delivered" in program.output()


def test_without_threads_later_requests_let_the_worker_deliver(serve, receiver):
    port, program = serve("--master", sink=receiver.url)
    ask(port, "GET", "/page-0")
    # The worker runs while they do.
    until(lambda: ask(port, "GET", "/page-1")[0] == 200 and "/page-0" in views(receiver), program.output(), seconds=60)
    assert ("enable-threads = true" in program.output()) is not THREADS_BY_DEFAULT

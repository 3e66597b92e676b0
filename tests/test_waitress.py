"""A real waitress, which knows no hook at all."""

from __future__ import annotations

import signal

import pytest
from http_server import Receiver
from served import TRACKED, answers, ask, free_port, until

SERVE = """
import signal, sys, waitress
from served_app import server

# A shell has what it starts in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
if "--term" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
waitress.serve(server, host="127.0.0.1", port=int(sys.argv[1]), threads=4)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_lost_when_waitress_is_stopped_in_order(tmp_path, start, number):
    (tmp_path / "served_app.py").write_text(TRACKED)
    port = free_port()
    with Receiver(batch=100) as receiver:
        program = start("-c", SERVE, str(port), "--term", SINK=receiver.url)
        until(lambda: answers(port), "waitress does not answer")
        for page in range(40):
            assert ask(port, "GET", f"/page-{page}")[0] == 200
        assert program.stop(number) == 0
        paths = [event.data["path"] for event in receiver.repository.events if event.event == "page_view"]
    assert sorted(paths) == sorted(f"/page-{page}" for page in range(40))
    assert "Traceback" not in program.output()

"""A worker that is a greenlet, in processes of its own."""

from __future__ import annotations

import pytest
from http_server import Receiver

PATCH = "from gevent import monkey; monkey.patch_all()"
APP = """
from werkzeug.test import Client
from dash_user_tracker import HttpTrackerRepository, TrackerMiddleware

def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<p>x</p>"]

tracker = TrackerMiddleware(page, repository=HttpTrackerRepository(os.environ["SINK"], batch=True))
client = Client(tracker)
"""
ASK = "[client.get(f'/{number}') for number in range(20)]"

ORDERS = {
    "before the import": [PATCH, APP, ASK],
    "between import and use": [APP, PATCH, ASK],
    "never, but imported": ["import gevent, gevent.monkey", APP, ASK],
}


@pytest.fixture
def run(start):
    def run(*lines):
        with Receiver() as receiver:
            program = start("-W", "ignore", "-c", "\n".join(["import os", *lines]), SINK=receiver.url)
            code = program.process.wait(60)
            assert (code, program.output()) == (0, "")
            paths = [event.data["path"] for event in receiver.repository.events]
            assert sorted(path for path in paths if path != "/early") == sorted(f"/{number}" for number in range(20))

    return run


@pytest.mark.parametrize("order", ORDERS)
def test_a_process_that_ends_at_once_delivers_whenever_gevent_patched(run, order):
    run(*ORDERS[order])


@pytest.mark.parametrize("patched", [PATCH, PATCH.replace("()", "(thread=False)")], ids=["all", "all but threads"])
def test_a_flush_delivers(run, patched):
    run(patched, APP, ASK, "assert tracker.flush(20) and tracker.stats()['delivered'] == 20")


def test_a_forked_greenlet_world_delivers(run):
    run(
        PATCH,
        APP,
        "client.get('/early'); tracker.flush()",
        f"pid = os.fork()\nif pid == 0: {ASK}\nelse: os.waitpid(pid, 0)",
    )

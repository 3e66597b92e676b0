"""A real gunicorn, asked over real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import time

import pytest

from dash_user_tracker import SqlTrackerRepository

APP = """
import os
from dash import Dash, Input, Output, dcc, html
from dash_user_tracker import SqlTrackerRepository, Tracker

app = Dash(__name__)
app.layout = html.Div([dcc.Location(id="url"), html.Div(id="out")])

@app.callback(Output("out", "children"), Input("url", "pathname"))
def out(path):
    return path

tracker = Tracker(app, repository=SqlTrackerRepository(os.environ["DB"]))
server = app.server
"""

CALL = json.dumps(
    {
        "output": "out.children",
        "outputs": {"id": "out", "property": "children"},
        "inputs": [{"id": "url", "property": "pathname", "value": "/sales"}],
        "changedPropIds": ["url.pathname"],
    }
)


@pytest.fixture
def served(tmp_path, start):
    """``served(*arguments)`` starts gunicorn with *arguments* in front of the app; a port and the program."""
    (tmp_path / "served_app.py").write_text(APP)
    url = f"sqlite:///{tmp_path / 'usage.db'}"

    def serve(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program = start(
            "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", *arguments, "served_app:server", DB=url
        )
        program.wait_for("Booting worker[^$]*Booting worker")
        return port, program, SqlTrackerRepository(url)

    return serve


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {"Content-Type": "application/json", "User-Agent": "client/1"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


@pytest.mark.parametrize(
    "arguments", [["-k", "sync"], ["-k", "gthread", "--threads", "4", "--preload"]], ids=["sync", "preload"]
)
def test_nothing_is_lost_when_gunicorn_is_stopped(served, arguments):
    port, program, repository = served(*arguments)
    for number in range(60):
        assert ask(port, "GET", f"/page-{number}") == 200
    for _ in range(20):
        assert ask(port, "POST", "/_dash-update-component", CALL) == 200
    assert program.stop(signal.SIGTERM) == 0
    assert repository.get_page_count() == 61
    assert repository.get_page_views(limit=0)["count"] == 80
    assert len(repository.get_events(event="callback", limit=None)) == 20
    assert "Traceback" not in program.output()


def test_events_arrive_while_gunicorn_serves(served):
    port, _, repository = served()
    ask(port, "GET", "/now")
    deadline = time.monotonic() + 20
    while not repository.get_page_views()["count"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert repository.get_page_views()["data"][0]["path"] == "/now"


def test_a_worker_ended_by_a_signal_delivers_what_it_has(served):
    port, program, repository = served()
    for number in range(30):
        ask(port, "GET", f"/page-{number}")
    workers = re.findall(r"Booting worker with pid: (\d+)", program.output())
    assert len(workers) == 2
    for pid in workers:
        os.kill(int(pid), signal.SIGTERM)
    assert program.stop(signal.SIGTERM) == 0
    assert repository.get_page_views(limit=0)["count"] == 30

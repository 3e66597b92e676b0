"""Apps for real servers, and a client that asks them."""

from __future__ import annotations

import http.client
import json
import socket
import time

#: ``server`` with the page app of below; ``/slow`` never answers, ``/stats`` tells what its own tracker counts.
PLAIN = """
import json, os, time
from dash import Dash, Input, Output, dcc, html

app = Dash(__name__, title="served")
app.layout = html.Div([dcc.Location(id="url"), html.Div(id="out")])

@app.callback(Output("out", "children"), Input("url", "pathname"))
def out(path):
    while path == "/slow":
        time.sleep(1)
    return path

server = app.server
"""

TRACKED = (
    PLAIN
    + """
from dash_user_tracker import Tracker

tracker = Tracker(app, tracker_endpoint=os.environ["SINK"])

@server.get("/stats")
def stats():
    return json.dumps({**tracker.stats(), "pid": os.getpid()})
"""
)

CALL = {
    "output": "out.children",
    "outputs": {"id": "out", "property": "children"},
    "inputs": [{"id": "url", "property": "pathname", "value": "/sales"}],
    "changedPropIds": ["url.pathname"],
}
SLOW = json.dumps({**CALL, "inputs": [{**CALL["inputs"][0], "value": "/slow"}]})


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", "User-Agent": "client/1"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def until(condition, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/_dash-dependencies")[0] == 200
    except OSError:
        return False

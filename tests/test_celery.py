"""Background callbacks on Celery: a broker, a worker and two servers, asked as the renderer asks."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import time
from collections import Counter

import pytest
import redis

from dash_user_tracker import SqlTrackerRepository

APP = """
import os, time
from celery import Celery
from dash import CeleryManager, Dash, Input, Output, html
from dash_user_tracker import SqlTrackerRepository, Tracker

queue = Celery("queue", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
queue.conf.broker_connection_retry_on_startup = True
app = Dash(__name__, background_callback_manager=CeleryManager(queue))
app.layout = html.Div([html.Button(id="cancel")])
for name in ("works", "fails", "sleeps"):
    app.layout.children += [html.Button(id=name), html.Div(id=name + "-done")]

def ran(name):
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(name + "\\n")

@app.callback(Output("works-done", "children"), Input("works", "n_clicks"), background=True, prevent_initial_call=True)
def works(n):
    ran("works")
    time.sleep(0.5)
    return f"done {n}"

@app.callback(Output("fails-done", "children"), Input("fails", "n_clicks"), background=True, prevent_initial_call=True)
def fails(n):
    ran("fails")
    raise RuntimeError("on purpose")

@app.callback(Output("sleeps-done", "children"), Input("sleeps", "n_clicks"), background=True,
              cancel=[Input("cancel", "n_clicks")], prevent_initial_call=True)
def sleeps(n):
    ran("sleeps")
    time.sleep(100)

tracker = Tracker(app, repository=SqlTrackerRepository(os.environ["DB"]))
server = app.server
# The tasks come into being at the first request.
server.test_client().get("/_dash-dependencies")
"""


@pytest.fixture
def broker():
    """The address of an empty Redis database, which is this test's alone until it ends."""
    for number in range(15, 0, -1):
        database = redis.Redis("127.0.0.1", 6379, number, socket_timeout=5)
        try:
            mine = database.set("dash_user_tracker-test", 1, nx=True)
        except redis.ConnectionError:
            pytest.skip("NO REDIS at 127.0.0.1:6379: background callbacks on Celery are not tested")
        if mine and database.dbsize() == 1:
            break
        if mine:
            database.delete("dash_user_tracker-test")
        database.close()
    else:
        pytest.fail("no database of the Redis at 127.0.0.1:6379 is empty")
    with contextlib.closing(database):
        yield f"redis://127.0.0.1:6379/{number}"
        database.flushdb()


class Page:
    """A page that clicks and polls, and says about itself what the page script would."""

    def __init__(self, port):
        self.port = port
        self.actions = 0
        self.begun = 0

    def ask(self, output, trigger, query="", **mark):
        """The answer to a callback request; each goes over a connection of its own, to any server."""
        identifier, _, name = trigger.partition(".")
        output_id, _, output_name = output.partition(".")
        body = {
            "output": output,
            "outputs": {"id": output_id, "property": output_name},
            "inputs": [{"id": identifier, "property": name, "value": 1}],
            "changedPropIds": [trigger],
        }
        told = {"i": "0123456789", "p": "/", "a": self.actions, "t": self.begun, "n": milliseconds(), "v": [], **mark}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json", "X-Dash-Page": json.dumps(told)}
        connection.request("POST", f"/_dash-update-component{query}", json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content) if response.status == 200 else {}

    def click(self, name):
        """The run's handle, as a query."""
        self.actions += 1
        self.begun = milliseconds()
        status, answer = self.ask(f"{name}-done.children", f"{name}.n_clicks", f=True)
        assert status == 200
        return f"?cacheKey={answer['cacheKey']}&job={answer['job']}"

    def poll(self, name, handle, **mark):
        """The status of an answer to a poll, 0 where the run goes on."""
        status, answer = self.ask(f"{name}-done.children", f"{name}.n_clicks", handle, **mark)
        return 0 if status == 200 and "response" not in answer else status


def milliseconds():
    return round(time.time() * 1000)


def signed_job(handle):
    return handle.rpartition("=")[2]


def job(handle):
    """The job's id in Celery; Dash 4 signs it for the browser."""
    return signed_job(handle).partition("~")[0]


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_run_is_told_once_whichever_server_began_it_and_whichever_saw_it_end(broker, tmp_path, start):
    (tmp_path / "jobs.py").write_text(APP)
    url, runs = f"sqlite:///{tmp_path / 'usage.db'}", tmp_path / "runs"
    variables = {"DB": url, "RUNS": str(runs), "REDIS": broker}
    queue = start("-m", "celery", "-A", "jobs:queue", "worker", "-c", "2", "--loglevel", "info", **variables)
    program = start(
        "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", "jobs:server",
        **variables,
    )  # fmt: skip
    page = Page(int(program.wait_for(r"Listening at: http://127.0.0.1:(\d+)")[1]))
    program.wait_for("Booting worker[^$]*Booting worker")
    queue.wait_for("celery@.* ready")

    for number in range(1, 4):
        for name, status in (("works", 200), ("fails", 500)):
            handle = page.click(name)
            assert name == "fails" or page.poll(name, handle) == 0
            # Not while it ends: Dash asks for the result, then whether the job runs, and may see neither.
            queue.wait_for(rf"\[{job(handle)}\] succeeded")
            assert page.poll(name, handle) == status
        handle = page.click("sleeps")
        until(lambda expected=number: runs.read_text().count("sleeps") == expected)
        assert page.poll("sleeps", handle) == 0
        page.actions += 1
        status, _ = page.ask("cancel.id", "cancel.n_clicks", f"?cancelJob={signed_job(handle)}")
        assert status in (200, 204)
        until(lambda told=handle: page.poll("sleeps", told, c=True) == 204)
    assert program.stop(signal.SIGTERM) == 0
    queue.stop(signal.SIGTERM)

    events = SqlTrackerRepository(url).get_events(event="callback", limit=None)
    outcomes = Counter((event.data["callback"].rpartition(":")[2], event.data["outcome"]) for event in events)
    assert outcomes == {("works", "ok"): 3, ("fails", "error"): 3, ("sleeps", "cancelled"): 3}
    assert Counter(name for name, _ in outcomes.elements()) == Counter(runs.read_text().split())
    assert len({event.id for event in events}) == 9
    assert len({event.data["action"] for event in events}) == 9
    assert all(event.data["background"] for event in events)
    assert all(400 < e.data["duration_ms"] < 30_000 for e in events if e.data["outcome"] == "ok")

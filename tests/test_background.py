"""Background callbacks as Flask answers them: how a run begins, goes on and ends."""

from __future__ import annotations

import gzip
import itertools
import json
import multiprocessing
import subprocess
import sys

import dash
import diskcache
import flask
import pytest
from dash import Dash, DiskcacheManager, Input, Output, html

from dash_user_tracker import MemoryTrackerRepository, Tracker
from dash_user_tracker.flask_hook import _background_answer
from dash_user_tracker.runs import Handle, OpenRuns, Run, ending, polled, started
from dash_user_tracker.shared import Shared

FIGURE = {"data": [{"x": list(range(30_000))}]}


def verdict(document, *, query="", encoding=None):
    """What the hook keeps of an answer."""
    body = json.dumps(document).encode()
    response = flask.Response(gzip.compress(body) if encoding else body, mimetype="application/json")
    if encoding:
        response.headers["Content-Encoding"] = encoding
    return _background_answer(response, "cacheKey=" in query)


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize(
    "more",
    [{}, {"cancel": [{"id": "b", "property": "n"}]}, {"progressDefault": FIGURE}],
    ids=["plain", "cancel", "figure"],
)
def test_a_run_begins(more, encoding):
    answer = verdict({"cacheKey": "key~mac", "job": "17~mac", **more}, encoding=encoding)
    assert started(answer) == Handle("key~mac", "17~mac")
    assert len(answer) < 100


def test_a_job_may_be_a_number():
    assert started(verdict({"cacheKey": "k", "job": 17})) == Handle("k", "17")


@pytest.mark.parametrize("document", [{"multi": True, "response": {"a": {"children": "cacheKey"}}}, [], "x", {}])
def test_other_answers_begin_no_run(document):
    assert started(verdict(document)) is None


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        pytest.param({"multi": True}, None, id="running"),
        pytest.param({"multi": True, "progress": {"bar": "50 %"}}, None, id="progress"),
        pytest.param({"multi": True, "progress": {"graph": FIGURE}}, None, id="long-progress"),
        pytest.param({"multi": True, "response": {"a": {"children": 1}}}, "ok", id="result"),
        pytest.param({"multi": True, "response": {"graph": FIGURE}}, "ok", id="long-result"),
        pytest.param({"response": {"a": {"children": 1}}, "multi": True, "progress": {"p": 1}}, "ok", id="both"),
    ],
)
def test_a_poll_says_whether_the_run_has_ended(document, outcome, encoding):
    answer = verdict(document, query="cacheKey=k&job=1", encoding=encoding)
    assert ending(200, answer) == outcome


@pytest.mark.parametrize(("status", "outcome"), [(500, "error"), (503, "error"), (204, "no_update")])
def test_a_run_ends_by_its_status(status, outcome):
    assert ending(status, None) == outcome


@pytest.mark.parametrize(
    ("query", "handle"),
    [
        ("cacheKey=a%7Eb&job=1", Handle("a~b", "1")),
        ("endId=x&cacheKey=a&job=1", Handle("a", "1")),
        ("xcacheKey=a&job=1", None),
        ("", None),
        ("cancelJob=1", None),
    ],
)
def test_what_a_request_asks_for(query, handle):
    assert polled(query) == handle


def test_a_handle_is_not_in_the_id_of_its_run():
    run_id = Handle("secret", "job").run_id("0123456789abcdef")
    assert "secret" not in run_id
    assert run_id == Handle("secret", "job").run_id("0123456789abcdef") != Handle("secret", "job").run_id(None)


def run_at(moment):
    return Run(
        page=Shared({"path": "/"}), callback="app:work", output="done.children", trigger=None, cause="user",
        background=True, action=None, request_bytes=None, status=200, response_bytes=0, error=None,
        begun=moment, heard=moment,
    )  # fmt: skip


def test_only_a_run_that_was_asked_for_here_can_be_abandoned_here():
    runs = OpenRuns()
    runs.begin("mine", "1", run_at(0.0))
    runs.begin("anothers", "2", run_at(0.0))
    runs.hear("mine", "1", 5.0)
    assert runs.abandoned(100.0) == []
    assert [run_id for run_id, _ in runs.abandoned(10_000.0)] == ["mine"]
    assert runs.end("anothers", "2") is None


ORDERS = list(itertools.permutations(("callback", "tracker", "request")))


def app_that_answers_at_once(tmp_path):
    """Its server does, for Dash."""
    app = Dash(__name__, background_callback_manager=DiskcacheManager(diskcache.Cache(tmp_path)))
    app.layout = html.Div()

    @app.server.before_request
    def as_dash_answers():
        if flask.request.method == "POST":
            flask.request.get_json()
            ended = "job=" in flask.request.query_string.decode()
            answer = {"multi": True, "response": {}} if ended else {"cacheKey": "k", "job": "1"}
            return flask.Response(json.dumps(answer, separators=(",", ":")), mimetype="application/json")
        return None

    return app


@pytest.mark.parametrize(
    ("order", "shared"),
    [
        *((order, False) for order in ORDERS),
        # Dash makes those of `dash.callback` the app's at its first request.
        *((order, True) for order in ORDERS if order.index("callback") < order.index("request")),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, tuple) else "dash.callback" if value else "app.callback",
)
def test_the_start_of_a_run_is_no_run_whichever_came_first(order, shared, tmp_path):
    app = app_that_answers_at_once(tmp_path)
    client = app.server.test_client()
    repository = MemoryTrackerRepository()
    trackers = []

    def add_callback():
        @(dash.callback if shared else app.callback)(
            Output("done", "children"), Input("job", "n_clicks"), background=True
        )
        def work(_):
            return "never called"

    steps = {
        "callback": add_callback,
        "tracker": lambda: trackers.append(Tracker(app, repository=repository)),
        "request": lambda: client.get("/", headers={"Sec-Fetch-Dest": "document"}),
    }
    for step in order:
        steps[step]()
    (tracker,) = trackers
    with tracker:
        client.get("/_dash-layout")  # as a browser does that is to know of the callback
        call = {"output": "done.children", "inputs": [], "changedPropIds": ["job.n_clicks"]}
        client.post("/_dash-update-component", json=call)
        assert tracker.flush(10)
        assert repository.get_events() == []
        client.post("/_dash-update-component?cacheKey=k&job=1", json=call)
        assert tracker.flush(10)
        (event,) = repository.get_events()
    assert (event.event, event.data["outcome"], event.data["background"]) == ("callback", "ok", True)


def test_an_app_without_background_callbacks_has_none_of_its_answers_looked_at(tmp_path):
    app = app_that_answers_at_once(tmp_path)

    @app.callback(Output("done", "children"), Input("job", "n_clicks"))
    def work(_):
        return "never called"

    before = len(app.server.after_request_funcs.get(None, ()))
    with Tracker(app, repository=MemoryTrackerRepository()):
        app.server.test_client().get("/")
        assert len(app.server.after_request_funcs.get(None, ())) == before


CHILD = """
import multiprocessing, sys
from dash import Dash, html
from dash_user_tracker import SqlTrackerRepository, Tracker

app = Dash(__name__)
app.layout = html.Div()
tracker = Tracker(app, repository=SqlTrackerRepository(sys.argv[1]))

def job():
    tracker.track("export", rows=1)

if __name__ == "__main__":
    tracker.track("before")
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    child.join()
    tracker.flush()
    print(sorted(event.event for event in tracker.repository.get_events()))
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs Python with fork")
def test_what_a_job_tracks_is_stored_though_its_process_runs_no_atexit(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(CHILD)
    command = [sys.executable, "-W", "ignore", str(script), f"sqlite:///{tmp_path / 'usage.db'}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "['before', 'export']"

"""One person's journey through an app with everything that makes counting hard, in a real Chromium."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from dash_user_tracker import SqlTrackerRepository

pytestmark = pytest.mark.browser

APP = '''
import os, time
import diskcache
from dash import ALL, Dash, DiskcacheManager, Input, Output, State, clientside_callback, ctx, dcc, html
from dash_user_tracker import SqlTrackerRepository, Tracker

def ran(name):
    """Each server execution leaves a line, in whatever process it runs."""
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(name + "\\n")

app = Dash(__name__, background_callback_manager=DiskcacheManager(diskcache.Cache(os.environ["CACHE"])))
app.layout = html.Div([
    dcc.Location(id="url"),
    dcc.Interval(id="tick", interval=200, max_intervals=15),
    html.Div([html.Button(f"row {n}", id={"type": "row", "index": n}) for n in range(3)]),
    html.Div(id="picked"),
    dcc.Dropdown(["north", "south"], id="country"), dcc.Dropdown(id="city"), html.Div(id="weather"),
    html.Button("chain", id="chain"), dcc.Store(id="link"), html.Div(id="chained"),
    html.Button("five", id="five"), *[html.Div(id=f"five-{n}") for n in range(5)],
    html.Button("fail", id="fail"), html.Div(id="failed"),
    html.Button("skip", id="skip"), html.Div(id="skipped"),
    html.Button("job", id="job"), html.Div("idle", id="done"),
    html.Button("bad job", id="bad-job"), html.Div(id="bad-done"),
    html.Div(id="ticks"), html.Div(id="path"),
])

@app.callback(Output("picked", "children"), Input({"type": "row", "index": ALL}, "n_clicks"), prevent_initial_call=True)
def pick(_):
    ran("pick")
    return f"picked {ctx.triggered_id['index']}"

@app.callback(Output("city", "options"), Output("city", "value"), Input("country", "value"), prevent_initial_call=True)
def cities(country):
    ran("cities")
    return [f"{country} A", f"{country} B"], f"{country} A"

@app.callback(Output("weather", "children"), Input("city", "value"), prevent_initial_call=True)
def weather(city):
    ran("weather")
    return f"fine in {city}"

clientside_callback("function(n) { return n; }", Output("link", "data"), Input("chain", "n_clicks"),
                    prevent_initial_call=True)

@app.callback(Output("chained", "children"), Input("link", "data"), prevent_initial_call=True)
def chained(n):
    ran("chained")
    return f"chained {n}"

for n in range(5):
    @app.callback(Output(f"five-{n}", "children"), Input("five", "n_clicks"), prevent_initial_call=True)
    def fives(clicks):
        ran("fives")
        return f"five {clicks}"

@app.callback(Output("failed", "children"), Input("fail", "n_clicks"), prevent_initial_call=True)
def fails(_):
    ran("fails")
    raise RuntimeError("on purpose")

@app.callback(Output("skipped", "children"), Input("skip", "n_clicks"), prevent_initial_call=True)
def skips(_):
    ran("skips")
    from dash.exceptions import PreventUpdate
    raise PreventUpdate

@app.callback(Output("done", "children"), Input("job", "n_clicks"), background=True, interval=100,
              prevent_initial_call=True)
def work(n):
    ran("work")
    time.sleep(0.7)
    return f"done {n}"

@app.callback(Output("bad-done", "children"), Input("bad-job", "n_clicks"), background=True, interval=100,
              prevent_initial_call=True)
def bad_work(n):
    ran("bad_work")
    time.sleep(0.3)
    raise RuntimeError("on purpose")

@app.callback(Output("ticks", "children"), Input("tick", "n_intervals"), prevent_initial_call=True)
def ticks(n):
    return f"tick {n}"

@app.callback(Output("path", "children"), Input("url", "pathname"))
def path(value):
    ran("path")
    return value

tracker = Tracker(app, repository=SqlTrackerRepository(os.environ["DB"]))
server = app.server
# Dash sets its callbacks up at a worker's first request, and a second one meanwhile fails.
server.test_client().get("/_dash-dependencies")
'''


@pytest.fixture
def served(tmp_path, start):
    """``served(*arguments)``: the app under gunicorn, and where its runs and events are."""
    (tmp_path / "journey.py").write_text(APP)
    url = f"sqlite:///{tmp_path / 'usage.db'}"

    def serve(*arguments):
        program = start(
            "-m", "gunicorn", "-k", "gthread", "--threads", "8", "--bind", "127.0.0.1:0", *arguments, "journey:server",
            DB=url, RUNS=str(tmp_path / "runs"), CACHE=str(tmp_path / "cache"),
        )  # fmt: skip
        port = program.wait_for(r"Listening at: http://127.0.0.1:(\d+)")[1]
        return f"http://127.0.0.1:{port}", program, SqlTrackerRepository(url), tmp_path / "runs"

    return serve


def executions(runs: Path) -> Counter[str]:
    return Counter(runs.read_text().split())


@pytest.mark.parametrize("workers", [1, 3])
def test_interactions_are_the_clicks_and_runs_are_the_executions(served, chromium, workers):
    address, program, repository, runs = served("--workers", str(workers))
    clicks = 0
    with chromium() as page:
        page.goto(address)
        page.wait_for_selector("#path:has-text('/')")
        for row in (0, 2):
            page.click(f"text=row {row}")
            page.wait_for_selector(f"#picked:has-text('picked {row}')")
            clicks += 1
        page.click("#chain")
        page.wait_for_selector("#chained:has-text('chained 1')")
        page.click("#five")
        page.wait_for_selector("#five-4:has-text('five 1')")
        clicks += 2
        page.click("#fail")
        page.click("#skip")
        clicks += 2
        page.click("#job")
        page.wait_for_selector("#done:has-text('done 1')")
        page.click("#bad-job")
        page.wait_for_function("() => document.querySelector('#ticks').innerText === 'tick 15'")
        clicks += 2
        page.wait_for_timeout(500)
    assert program.stop(signal.SIGTERM) == 0

    events = repository.get_events(limit=None)
    by_name = Counter(event.event for event in events)
    assert by_name["page_view"] == 1
    callbacks = [event.data for event in events if event.event == "callback"]
    told = Counter(re.sub(r".*[:.]", "", data["callback"]) for data in callbacks)
    assert told == executions(runs)
    assert len({data["page_load"] for data in callbacks}) == 1
    people = {(data["page_load"], data["action"]) for data in callbacks if data["cause"] == "user"}
    assert len(people) == clicks
    one = {re.sub(r".*[:.]", "", data["callback"]): data for data in callbacks}
    assert one["pick"]["trigger"] == '{"index":ALL,"type":"row"}.n_clicks'
    assert (one["fails"]["outcome"], one["fails"]["error"]["type"]) == ("error", "RuntimeError")
    assert (one["skips"]["outcome"], one["skips"]["status"]) == ("no_update", 204)
    assert (one["work"]["outcome"], one["work"]["background"]) == ("ok", True)
    assert 600 < one["work"]["duration_ms"] < 10_000
    assert one["bad_work"]["outcome"] == "error"
    assert one["path"]["cause"] in ("initial", "navigation")

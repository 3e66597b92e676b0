"""What does the tracker cost a Dash app? The same requests with it and without, in turn, in one process.

    python benchmarks/overhead.py [--rounds 15] [--requests 100] [--json]

Needs the extra [demo]. Events go over HTTP to a receiver in a process of its own. Times are
processor times where it says so, and every figure is a median over the rounds of the
difference to the bare app in the same round: compare within one run, never two runs.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import logging
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import dash
from dash import Dash, Input, Output, State, dcc, html
from rich.console import Console
from rich.table import Table

from dash_user_tracker import HttpTrackerRepository, Tracker, TrackerMiddleware, TrackerRepository

CALLBACK = "/_dash-update-component"


# -- requests and apps ---------------------------------------------------------------------


def callback(size: int, trigger: str = "btn.n_clicks", output: str = "out.children") -> bytes:
    """The body of a callback request, filled up to *size* bytes."""
    identity, name = trigger.split(".")
    value = "/sales" if name == "pathname" else 1
    body = {
        "output": output,
        "outputs": {"id": output.split(".")[0], "property": output.split(".")[1]},
        "inputs": [{"id": identity, "property": name, "value": value}],
        "changedPropIds": [trigger],
        "state": [] if name == "pathname" else [{"id": "store", "property": "data", "value": ""}],
    }
    if body["state"]:
        body["state"][0]["value"] = "x" * max(0, size - len(json.dumps(body)))
    return json.dumps(body).encode()


#: name -> method, path, body
REQUESTS = {
    "page": ("GET", "/sales", b""),
    "callback, 1 KB": ("POST", CALLBACK, callback(1 << 10)),
    "callback, 100 KB": ("POST", CALLBACK, callback(100 << 10)),
    "navigation callback": ("POST", CALLBACK, callback(0, "url.pathname", "content.children")),
    "asset": ("GET", "/assets/none.css", b""),
    "upload, 5 MB": ("POST", CALLBACK, callback(5 << 20)),
}
UPLOAD = "upload, 5 MB"


def ask(app: Callable, name: str) -> float:
    """Seconds until *app* has answered."""
    method, path, body = REQUESTS[name]
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "CONTENT_TYPE": "application/json",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8050",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8050",
        "HTTP_USER_AGENT": "overhead/1.0 (runs no page script, so that each page is an event)",
        "HTTP_REFERER": "http://localhost:8050/sales",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    started = time.perf_counter()
    answer = app(environ, lambda *_: None)
    for _ in answer:
        pass
    if hasattr(answer, "close"):
        answer.close()
    return time.perf_counter() - started


def constant(environ: dict, start_response: Callable) -> list[bytes]:
    """The least an app can do: it reads its body and answers the same each time."""
    environ["wsgi.input"].read()
    html_or_json = "application/json" if environ["REQUEST_METHOD"] == "POST" else "text/html"
    start_response("200 OK", [("Content-Type", html_or_json), ("Content-Length", "2")])
    return [b"ok"]


def dash_app() -> Dash:
    app = Dash("overhead", assets_folder="none")
    app.layout = html.Div(
        [
            dcc.Location(id="url"),
            html.Button(id="btn"),
            dcc.Store(id="store"),
            html.Div(id="out"),
            html.Div(id="content"),
        ]
    )
    app.server.secret_key = "overhead"

    @app.callback(Output("out", "children"), Input("btn", "n_clicks"), State("store", "data"))
    def clicked(clicks: int, data: str) -> str:
        return f"{clicks}, {len(data or '')}"

    @app.callback(Output("content", "children"), Input("url", "pathname"))
    def routed(path: str) -> str:
        return path

    return app


# -- receivers -----------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    """Takes everything and looks at nothing, at once or after a while."""

    protocol_version = "HTTP/1.1"
    delay = 0.0  # seconds

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.delay)
        self.wfile.write(b"HTTP/1.1 202 Accepted\r\nDash-User-Tracker-Batch: 500\r\nContent-Length: 0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def receive(delay: float) -> None:
    """Serve until standard input ends; the first line of output is the port."""
    handler = type("Delayed", (Receiver,), {"delay": delay})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


@contextmanager
def receiver(delay: float = 0.0) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--receive", str(delay)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/events"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def refused() -> Iterator[str]:
    with socket.socket() as closed:  # bound, so that nobody else gets it, and not listening
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}/events"


RECEIVERS = {
    "good": receiver,
    "slow, 200 ms": lambda: receiver(0.2),
    "refuses connections": refused,
    "never answers": lambda: receiver(3600),
}


# -- measuring -----------------------------------------------------------------------------


@attrs.frozen
class Scale:
    rounds: int
    requests: int  # in a round; of uploads a tenth

    def of(self, name: str) -> int:
        return max(2, self.requests // 20) if name == UPLOAD else self.requests


def difference(scale: Scale, measure: Callable[[Callable], float], bare: Callable, tracked: Callable) -> dict:
    """Medians over the rounds: what *measure* says of the bare app, and how much more of the tracked one."""
    pairs = []
    for number in range(-1, scale.rounds):
        order = (bare, tracked) if number % 2 else (tracked, bare)
        found = {app: measure(app) for app in order}
        if number >= 0:  # the first warms up
            pairs.append((found[bare], found[tracked]))
    return {
        "bare": statistics.median(before for before, _ in pairs),
        "added": statistics.median(after - before for before, after in pairs),
    }


def thread_time(scale: Scale, name: str, settle: Callable[[], object]) -> Callable[[Callable], float]:
    """Processor time of the request thread, microseconds a request."""

    def measure(app: Callable) -> float:
        settle()
        count = scale.of(name)
        started = time.thread_time_ns()
        for _ in range(count):
            ask(app, name)
        return (time.thread_time_ns() - started) / count / 1000

    return measure


def process_time(scale: Scale, name: str, settle: Callable[[], object]) -> Callable[[Callable], float]:
    """Processor time of the whole process until everything is delivered, microseconds a request."""

    def measure(app: Callable) -> float:
        settle()
        count = scale.of(name) * 5
        started = time.process_time_ns()
        for _ in range(count):
            ask(app, name)
        settle()
        return (time.process_time_ns() - started) / count / 1000

    return measure


def wall_time(scale: Scale, name: str) -> Callable[[Callable], float]:
    """The median request, microseconds."""
    return lambda app: statistics.median(ask(app, name) for _ in range(scale.of(name))) * 1e6


def around_constant(url: str, batch: bool = True, **options: str) -> TrackerMiddleware:
    return TrackerMiddleware(
        constant,
        repository=HttpTrackerRepository(url, batch=batch),
        app_name="overhead",
        visitor_key="overhead",
        **options,
    )


def requests_cost(scale: Scale) -> dict:
    found: dict = {}
    with receiver() as url:
        bare, app = dash_app().server.wsgi_app, dash_app()
        with around_constant(url) as middleware, Tracker(app, tracker_endpoint=url, batch=True) as tracker:
            for name in REQUESTS:
                found[name] = {
                    "constant": difference(scale, thread_time(scale, name, middleware.flush), constant, middleware),
                    "dash": difference(scale, thread_time(scale, name, tracker.flush), bare, app.server.wsgi_app),
                }
    return found


def durable_cost(scale: Scale) -> dict:
    found: dict = {}
    with (
        receiver() as url,
        tempfile.TemporaryDirectory() as folder,
        around_constant(url, spool=folder, durable="request") as middleware,
    ):
        for name in ("page", "callback, 1 KB"):
            measure = thread_time(scale, name, middleware.flush)
            found[name] = difference(scale, measure, constant, middleware)["added"]
    return found


def events_cost(scale: Scale) -> dict:
    found: dict = {}
    with receiver() as url:
        for batch in (True, False):
            with around_constant(url, batch) as middleware:
                for name in ("page", "callback, 1 KB"):
                    measure = process_time(scale, name, middleware.flush)
                    found[f"{name}, {'batches' if batch else 'one by one'}"] = difference(
                        scale, measure, constant, middleware
                    )["added"]
    return found


def latency(scale: Scale) -> dict:
    found: dict = {}
    for name, receiving in RECEIVERS.items():
        with receiving() as url:
            middleware = around_constant(url)
            found[name] = difference(scale, wall_time(scale, "page"), constant, middleware)["added"]
            middleware._delivery.close(0)  # not to wait for those that never answer
    return found


class Nowhere(TrackerRepository):
    def save_event(self, event: object) -> None:
        raise ConnectionError("nobody there")


def memory(scale: Scale) -> dict:
    found: dict = {}
    for name in ("page", "callback, 1 KB"):
        middleware = TrackerMiddleware(constant, repository=Nowhere())
        gc.collect()
        tracemalloc.start()
        for _ in range(10_000):
            ask(middleware, name)
        gc.collect()
        found[f"10,000 queued: {name}, MB"] = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        middleware._delivery.close(0)
    with TrackerMiddleware(constant, repository=Nowhere()) as middleware:
        peaks = []
        for app in (constant, middleware):
            ask(app, UPLOAD)
            tracemalloc.start()
            ask(app, UPLOAD)
            peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
        middleware._delivery.close(0)
    found["one upload of 5 MB, MB of peak"] = peaks[1] - peaks[0]
    return found


# -- telling -------------------------------------------------------------------------------


def show(found: dict) -> None:
    console = Console()
    console.print(f"Python {found['python']}, Dash {found['dash']}; medians, microseconds unless said otherwise\n")
    table = Table(title="Processor time of the request thread")
    for heading in ("request", "constant app", "added", "Dash app", "added", "of it"):
        table.add_column(heading, justify="left" if heading == "request" else "right")
    for name, row in found["requests"].items():
        plain, real = row["constant"], row["dash"]
        share = f"{100 * real['added'] / real['bare']:+.1f} %"
        table.add_row(name, *(f"{value:.1f}" for value in (*plain.values(), *real.values())), share)
    console.print(table)
    for title, key in (
        ('Processor time of the request thread, added with durable="request"', "durable"),
        ("Processor time of the process, for one event from the request to the receiver", "events"),
        ("Time added to the median page, by how the receiver is", "latency"),
        ("Memory", "memory"),
    ):
        table = Table("", "", title=title, show_header=False)
        for name, value in found[key].items():
            table.add_row(name, f"{value:.2f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of measurements for each figure (15)")
    parser.add_argument("--requests", type=int, default=100, help="requests in each measurement (100)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--receive", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive is not None:
        receive(options.receive)
        return
    if min(options.rounds, options.requests) < 1:
        parser.error("--rounds and --requests must be at least 1")
    # Events are left over on purpose, and said to be lost.
    logging.getLogger("dash_user_tracker").setLevel(logging.CRITICAL)
    scale = Scale(options.rounds, options.requests)
    found = {
        "python": platform.python_version(),
        "dash": dash.__version__,
        "requests": requests_cost(scale),
        "durable": durable_cost(scale),
        "events": events_cost(scale),
        "latency": latency(scale),
        "memory": memory(scale),
    }
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


if __name__ == "__main__":
    main()

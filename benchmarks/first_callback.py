"""Does the page script delay a page? When a browser sends its first callback, with the script and without.

    python benchmarks/first_callback.py [--loads 20]

Needs the extra [test] and a Chromium. Two servers, loads in turn, an empty cache for each
load; the figure is the browser's own (Resource Timing: ``startTime`` of the first request
of ``_dash-update-component``), the difference is taken pair by pair. On a busy machine that
is mostly noise, so there is a second figure: how long before the last of Dash's own scripts
the page script had arrived. The renderer waits for all of them, so where that is not
negative the page script was not waited for. ``--latency`` puts a network of so many
milliseconds and 20 Mbit/s between the browser and the server.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import statistics
import threading
from wsgiref.simple_server import WSGIServer

from dash import Dash, Input, Output, dcc, html
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from dash_user_tracker import MemoryTrackerRepository, Tracker

TIMES = """() => {
    const all = performance.getEntriesByType("resource");
    const named = (part) => all.filter(one => one.name.includes(part));
    const [mine] = named("_dut/page.js");
    // Those that are fetched later, in pieces, are not waited for.
    const dash = named("_dash-component-suites").filter(one => !one.name.includes("async-"));
    return [
        Math.min(...named("_dash-update-component").map(one => one.startTime)),
        mine ? Math.max(...dash.map(one => one.responseEnd)) - mine.responseEnd : 0,
    ];
}"""


def serve(page_script: bool) -> tuple[str, WSGIServer]:
    """The address of a small app, and its server."""
    app = Dash(__name__)
    app.layout = html.Div([dcc.Location(id="url"), dcc.Graph(), html.Div(id="out")])

    @app.callback(Output("out", "children"), Input("url", "pathname"))
    def out(path: str) -> str:
        return path

    Tracker(app, repository=MemoryTrackerRepository(), page_script=page_script)
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.port}/", server


def load(browser, address: str, latency: float) -> tuple[float, float]:
    """Milliseconds from the start of a load to its first callback, and from the page script to Dash's last."""
    context = browser.new_context()  # nothing cached
    try:
        page = context.new_page()
        if latency:
            devtools = context.new_cdp_session(page)
            network = {"offline": False, "latency": latency, "downloadThroughput": 2.5e6, "uploadThroughput": 1e6}
            devtools.send("Network.emulateNetworkConditions", network)
        page.goto(address)
        page.wait_for_selector("#out:has-text('/')")
        return page.evaluate(TIMES)
    finally:
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=20, help="of each of the two")
    parser.add_argument("--latency", type=float, default=0.0, help="of the network, milliseconds")
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    (on, _), (off, _) = serve(True), serve(False)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        pairs, waits = [], []
        for number in range(-2, arguments.loads):
            # In turn, and each first in half of the pairs.
            order = (on, off) if number % 2 else (off, on)
            times = {address: load(browser, address, arguments.latency) for address in order}
            if number >= 0:  # the first two warm up
                pairs.append((times[on][0], times[off][0]))
                waits.append(times[on][1])
        browser.close()
    differences = [with_script - without for with_script, without in pairs]
    spread = statistics.quantiles(differences, n=4)
    print(
        f"first callback after, ms (median of {arguments.loads} loads): "
        f"with the script {statistics.median(a for a, _ in pairs):.1f}, "
        f"without {statistics.median(b for _, b in pairs):.1f}"
    )
    print(
        f"difference of a pair, ms: median {statistics.median(differences):+.1f}, "
        f"quartiles {spread[0]:+.1f} to {spread[2]:+.1f}"
    )
    least = min(waits)
    print(f"the page script is there before Dash's last, ms: median {statistics.median(waits):.1f}, least {least:.1f}")


if __name__ == "__main__":
    main()

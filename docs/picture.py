"""Draws report.svg, the picture in the README: python docs/picture.py

The report of an invented week of the demo, the same each time.
"""

import io
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console

from dash_user_tracker import Event
from dash_user_tracker.report import Coverage, build_report
from dash_user_tracker.terminal import print_report

MONDAY = datetime(2025, 1, 27, 8, tzinfo=timezone.utc)
PEOPLE = ("ada", "grace", "katherine", None, None)
PAGES = ("/", "/", "/orders", "/orders", "/regions", "/regions/west", "/regions/north", "/forecast")
CALLBACKS = {
    "/": ("draw_months", 14),
    "/orders": ("next_orders", 9),
    "/regions": ("draw_regions", 21),
    "/forecast": ("compute_forecast", 1510),
}


def week():
    numbers = random.Random(2025)
    for visit in range(140):
        moment = MONDAY + timedelta(hours=24 * (visit % 5) + 9 * numbers.random())
        name = numbers.choice(PEOPLE)
        who = {"user_id": name, "email": f"{name}@example.com"} if name else {"visitor": f"{visit % 55:016x}"}
        if numbers.random() < 0.05:
            who = {"automated": True}
        for step in range(numbers.randint(1, 5)):
            moment += timedelta(seconds=numbers.randint(2, 90))
            path = numbers.choice(PAGES)
            route = "/regions/<name>" if path.startswith("/regions/") else path
            page = {"app_name": "Sales explorer", "path": path, "route": route, **who}
            yield Event.new("page_view", {**page, "navigation": "internal" if step else "load"}, timestamp=moment)
            if path in CALLBACKS:
                function, duration = CALLBACKS[path]
                failed = numbers.random() < 0.02
                run = {
                    "callback": f"sales.app:{function}",
                    "duration_ms": duration * numbers.uniform(0.8, 2.2),
                    "outcome": "error" if failed else "ok",
                    "error": {"type": "KeyError", "where": ""} if failed else None,
                }
                yield Event.new("callback", {**page, **run}, timestamp=moment)
            if path == "/orders" and numbers.random() < 0.3:
                yield Event.new("export", page, timestamp=moment)


if __name__ == "__main__":
    console = Console(record=True, width=100, file=io.StringIO(), markup=False, highlight=False)
    print_report(console, Coverage(), build_report(week(), limit=5))
    picture = Path(__file__).with_name("report.svg")
    # Without the address of a font on somebody's server: whoever reads the README has a monospaced one.
    lines = console.export_svg(title="dash-user-tracker report --db sqlite:///usage.db --limit 5").splitlines()
    svg = "\n".join(line.rstrip() for line in lines if 'url("http' not in line)
    picture.write_text(svg + "\n", encoding="utf-8")

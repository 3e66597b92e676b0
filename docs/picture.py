"""Draws report.svg, the picture in the README: python docs/picture.py

The report of a month of an invented company, the same each time.
"""

import io
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console

from dash_user_tracker import MemoryTrackerRepository
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.metrics.filters import Filters
from dash_user_tracker.report import build_report
from dash_user_tracker.terminal import print_report

END = datetime(2025, 1, 31, 17, tzinfo=timezone.utc)

if __name__ == "__main__":
    repository = MemoryTrackerRepository(max_events=20_000)
    repository.save_events(list(demo_events(Plan.of(days=60, users=80, end=END))))
    start = (END - timedelta(days=29)).replace(hour=0)
    report = build_report(repository, start=start, end=END, filters=Filters(app="Sales explorer"), limit=4)
    console = Console(record=True, width=108, file=io.StringIO(), markup=False, highlight=False)
    print_report(console, report)
    picture = Path(__file__).with_name("report.svg")
    # Without the address of a font on somebody's server: whoever reads the README has a monospaced one.
    command = 'dash-user-tracker report --db sqlite:///usage.db --app "Sales explorer" --limit 4'
    lines = console.export_svg(title=command).splitlines()
    svg = "\n".join(line.rstrip() for line in lines if 'url("http' not in line)
    picture.write_text(svg + "\n", encoding="utf-8")

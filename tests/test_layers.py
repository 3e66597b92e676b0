"""The layers of the package: imports point down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dash_user_tracker

PACKAGE = Path(dash_user_tracker.__file__).parent

_SQL = """
address answers batches cells connections decoding deleting detail driver encoding files folding histogram hours labels
metrics migrations packing parts people pieces primitives rankings recounting repository rollups rows schema sections
stays texts trails
"""
SQL = {f"repositories.sql.{name}" for name in _SQL.split()}

#: Lowest first. A module may import from its own layer and from those before it.
LAYERS = [
    {"errors", "events", "request", "shared"},
    {
        "addresses",
        "body",
        "callbacks",
        "classify",
        "codec",
        "component_ids",
        "counting",
        "demo_company",
        "demo_data",
        "documents",
        "explain",
        "facts",
        "hints",
        "identity",
        "marks",
        "metrics",
        "metrics.answers",
        "metrics.arguments",
        "metrics.breakdowns",
        "metrics.browsers",
        "metrics.callback_stats",
        "metrics.checks",
        "metrics.coverage",
        "metrics.error_groups",
        "metrics.filters",
        "metrics.funnels",
        "metrics.history",
        "metrics.interactions",
        "metrics.journeys",
        "metrics.measures",
        "metrics.percentiles",
        "metrics.periods",
        "metrics.presence",
        "metrics.queries",
        "metrics.records",
        "metrics.referrers",
        "metrics.tables",
        "metrics.visit_rows",
        "metrics.visits",
        "metrics.wire",
        "metrics.words",
        "navigation",
        "older",
        "page_data",
        "page_script",
        "policy",
        "privacy",
        "repositories.base",
        "repositories.metrics",
        "routes",
        "runs",
        "tabular",
        "verdicts",
        "wsgi_parts",
    },
    {
        "repositories",
        "repositories.console",
        "repositories.http",
        "repositories.http_connections",
        "repositories.http_metrics",
        "repositories.memory",
        "repositories.sql",
        *SQL,
    },
    {
        "analytics",
        "async_metrics",
        "delivery",
        "delivery.delivery",
        "delivery.host",
        "delivery.process",
        "delivery.reading",
        "delivery.retry",
        "delivery.sending",
        "delivery.spool",
        "delivery.tally",
    },
    {"flask_hook", "middleware"},
    {"dash_facts", "tracker"},
    {
        "__main__",
        "cli",
        "cli_care",
        "cli_demo",
        "cli_doctor",
        "cli_move",
        "cli_options",
        "cli_report",
        "cli_work",
        "demo",
        "doctor",
        "gunicorn",
        "interchange",
        "live",
        "report",
        "terminal",
    },
]
DELIVERY = {module for module in LAYERS[3] if module.startswith("delivery")}
LAYER_OF = {module: number for number, layer in enumerate(LAYERS) for module in layer}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        name = name[: -len(".__init__")] if name.endswith(".__init__") else name
        if name != "__init__":  # its exports are resolved on access (PEP 562)
            found[name] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    """Own modules that *path* imports, also inside functions."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                found.add(inner if inner in LAYER_OF else target)
    return found - {""}


def third_party(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def test_every_module_has_a_layer():
    assert set(modules()) == set(LAYER_OF)


@pytest.mark.parametrize("name", sorted(LAYER_OF))
def test_imports_point_down_only(name):
    for target in imports(name, modules()[name]):
        assert LAYER_OF[target] <= LAYER_OF[name], f"{name} imports {target}, which lies above it"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("dash", {"dash_facts", "demo", "doctor", "tracker"}),
        ("flask", {"demo", "doctor", "flask_hook", "tracker"}),
        ("requests", {"repositories.http", "repositories.http_connections"}),
        ("sqlalchemy", {"repositories.sql", *SQL}),
        ("numpy", {"repositories.sql", *SQL}),
        ("threading", {"analytics", *DELIVERY, *LAYERS[2], *LAYERS[-1]}),
        ("atexit", {"delivery.delivery"}),
    ],
)
def test_library_stays_in_its_modules(library, allowed):
    users = {name for name, path in modules().items() if library in third_party(path)}
    assert users <= allowed


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_else():
    loaded = loaded_after("import dash_user_tracker")
    assert not loaded & {"dash", "flask", "requests", "sqlalchemy", "attr", "threading.local"}


def test_a_process_that_only_reads_does_not_load_dash():
    loaded = loaded_after("from dash_user_tracker import TrackerAnalytics, SqlTrackerRepository, HttpTrackerRepository")
    assert not loaded & {"dash", "flask", "plotly"}


def test_the_middleware_alone_does_not_load_dash():
    assert not loaded_after("from dash_user_tracker import TrackerMiddleware") & {"dash", "flask", "plotly"}


def test_the_gunicorn_hooks_load_nothing_that_gevent_patches():
    loaded = loaded_after("import dash_user_tracker.gunicorn as hooks\nhooks.hooks(tracker_endpoint='http://x/')")
    assert not loaded & {"dash", "flask", "requests", "ssl", "gunicorn", "socket", "sqlalchemy"}


def test_no_thread_starts_at_import():
    code = "import threading\nfrom dash_user_tracker import *\nassert threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", code], check=True)

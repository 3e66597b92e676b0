"""The ``dash-user-tracker`` command, in process and as a program."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from click.testing import CliRunner, Result
from conftest import Program

import dash_user_tracker
from dash_user_tracker import Event, SqlTrackerRepository
from dash_user_tracker.cli import main

NOON = datetime(2025, 1, 30, 12, tzinfo=timezone.utc)


def event(name: str = "page_view", *, minute: int = 0, **data: Any) -> Event:
    data = {"app_name": "Sales", "path": "/", "automated": False, **data}
    return Event.new(name, data, timestamp=NOON + timedelta(minutes=minute))


def stored(tmp_path: Path, *events: Event) -> str:
    """The URL of a database that holds *events*."""
    db = f"sqlite:///{tmp_path / 'usage.db'}"
    repository = SqlTrackerRepository(db)
    repository.save_events(events)
    repository.get_user_count()  # makes the file where there is no event
    repository.close()
    return db


def report(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments], env={"COLUMNS": "120"})


def numbers(*arguments: str) -> dict[str, Any]:
    result = report(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.output)
    return document


# -- the command itself ----------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["-m", "dash_user_tracker"], ["-c", "from dash_user_tracker.cli import main; main()"]]
)
def test_version_is_that_of_the_package(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], env=environment, capture_output=True, text=True)
    assert done.stdout.strip().endswith(f"version {dash_user_tracker.__version__}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["report", "--help"]])
def test_help_shows_an_example(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "dash-user-tracker report --db" in result.output or "dash-user-tracker demo --port" in result.output


def test_help_and_report_do_not_import_dash(environment: dict[str, str], tmp_path: Path) -> None:
    db = stored(tmp_path, event())
    code = (
        "import sys; from dash_user_tracker.cli import main\n"
        "for arguments in (['report', '--help'], ['report', '--db', sys.argv[1]]):\n"
        "    main(arguments, standalone_mode=False)\n"
        "print('imported', sorted({'dash', 'flask', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, db], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["imported []"], done.stderr


@pytest.mark.parametrize("absent", ["rich", "sqlalchemy", "waitress"])
@pytest.mark.parametrize("command", [["demo"], ["report", "--db", "sqlite:///usage.db"]])
def test_a_missing_extra_is_one_line_that_names_it(
    absent: str, command: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    if (absent, command[0]) == ("waitress", "report"):
        return  # a report serves nothing
    stored(tmp_path, event())
    code = f"import sys; sys.modules[{absent!r}] = None; from dash_user_tracker.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert absent in done.stderr
    assert 'pip install "dash-user-tracker[demo]"' in done.stderr


# -- report ----------------------------------------------------------------------------


def test_a_report_shows_who_did_what(tmp_path: Path) -> None:
    db = stored(
        tmp_path,
        event(user_id="ada", email="ada@example.com", path="/orders", route="/orders", navigation="load"),
        event(user_id="ada", email="ada@example.com", path="/regions/west", route="/regions/<name>", minute=1),
        event("callback", callback="app:draw", duration_ms=12.5, outcome="ok", user_id="ada"),
        event(
            "callback",
            callback="app:draw",
            duration_ms=80.0,
            outcome="error",
            error={"type": "builtins.KeyError", "where": ""},
            user_id="ada",
        ),
        event("export", user_id="ada"),
        event(automated=True),
    )
    result = report("--db", db)
    assert result.exit_code == 0
    text = result.output
    assert "Usage of Sales" in text
    assert (
        "All recorded events, times in UTC; 1 page view of automated clients left out (--automated counts them)."
        in text
    )
    assert "2 page views | 1 user | 2 pages | 2 callback runs (1 failed) | 1 custom event" in text
    assert re.search(r"/regions/<name>\s+1\s+1 user", text)
    assert re.search(r"ada\s+ada@example.com\s+2\s+2\s+2\s+2025-01-30 12:01:00", text)
    assert re.search(r"app:draw\s+2\s+12.5\s+80.0\s+1\s+KeyError", text)
    assert re.search(r"export\s+1\s+1 user", text)
    assert re.search(r"2025-01-30 12:01:00\s+/regions/west\s+ada", text)


def test_json_has_the_same_numbers(tmp_path: Path) -> None:
    db = stored(tmp_path, event(user_id="ada"), event(automated=True))
    found = numbers("--db", db, "--start", "2025-01-30")
    assert (found["start"], found["end"], found["automated"]) == ("2025-01-30T00:00:00+00:00", None, False)
    assert (found["totals"]["views"], found["totals"]["automated_views"]) == (1, 1)
    assert found["latest"][0]["timestamp"] == "2025-01-30T12:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "views"),
    [
        pytest.param([], 3, id="no bound"),
        pytest.param(["--start", "2025-01-30T12:01"], 2, id="start is included"),
        pytest.param(["--end", "2025-01-30T12:01"], 1, id="end is not"),
        pytest.param(["--start", "2025-01-30T13:02+01:00"], 1, id="an offset counts"),
        pytest.param(["--start", "2025-01-30T12:02Z"], 1, id="Z is UTC"),
        pytest.param(["--end", "2025-01-30"], 0, id="a date is its midnight in UTC"),
    ],
)
def test_a_report_covers_what_start_and_end_say(arguments: list[str], views: int, tmp_path: Path) -> None:
    db = stored(tmp_path, *(event(minute=minute) for minute in range(3)))
    assert numbers("--db", db, *arguments)["totals"]["views"] == views


def test_automated_clients_are_counted_when_asked_for(tmp_path: Path) -> None:
    db = stored(tmp_path, event(), event(automated=True))
    assert numbers("--db", db, "--automated")["totals"]["views"] == 2
    assert "1 page view of automated clients included" in report("--db", db, "--automated").output


def test_one_app_can_be_chosen(tmp_path: Path) -> None:
    db = stored(tmp_path, event(), event(app_name="Stock"))
    assert numbers("--db", db, "--app", "Stock")["apps"] == ["Stock"]


def test_what_a_visitor_chose_cannot_repaint_the_terminal(tmp_path: Path) -> None:
    db = stored(tmp_path, event(path="/\x1b[2J[red]\u202etxt", app_name="[bold]a\x07"))
    text = report("--db", db).output
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "/\\x1b[2J[red]\\u202etxt" in text


def test_a_missing_file_is_an_error_and_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    result = report("--db", f"sqlite:///{path}")
    assert result.exit_code == 1
    assert f"Error: {path} does not exist" in result.output
    assert not path.exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_an_empty_store_says_how_to_fill_it(as_json: bool, tmp_path: Path) -> None:
    db = stored(tmp_path)
    if as_json:
        assert numbers("--db", db)["totals"]["views"] == 0
    else:
        result = report("--db", db)
        assert result.exit_code == 0
        assert f"Tracker(app, repository=SqlTrackerRepository({db!r}))" in result.output


def test_nothing_in_a_range_is_not_an_empty_store(tmp_path: Path) -> None:
    db = stored(tmp_path, event())
    result = report("--db", db, "--start", "2026-01-01")
    assert (result.exit_code, "match --start, --end and --app" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["--db", "usage.db"], "such as 'sqlite:///usage.db'", id="a path, not a URL"),
        pytest.param(["--db", "sqlite://"], "name a file", id="in memory"),
        pytest.param(["--db", "sqlite:///usage.db", "--start", "yesterday"], "write 2025-01-30", id="no date"),
        pytest.param(
            ["--db", "sqlite:///usage.db", "--start", "2025-02-01", "--end", "2025-01-01"],
            "--end must not be before --start",
            id="backwards",
        ),
        pytest.param(["--db", "sqlite:///usage.db", "--limit", "-1"], "--limit", id="negative limit"),
        pytest.param([], "--db", id="no database"),
    ],
)
def test_a_wrong_argument_is_told_with_the_way_out(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path, event())
    result = report(*arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("content", [b"not a database, but long enough to be taken for one" * 40, None])
def test_a_file_of_something_else_is_told_in_a_line_and_not_changed(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("create table orders (id)")
        connection.close()
    before = path.read_bytes()
    result = report("--db", f"sqlite:///{path}")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1, result.output
    assert result.output.startswith(f"Error: {path} is ")
    assert path.read_bytes() == before


def test_a_password_is_never_printed(tmp_path: Path) -> None:
    result = report("--db", "postgresql://ada:hunter2@db.invalid/usage")
    assert result.exit_code == 2
    assert "hunter2" not in result.output


# -- demo ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_demo_counts_stops_cleanly_and_loses_nothing(
    number: int, start: Callable[..., Program], tmp_path: Path
) -> None:
    db = f"sqlite:///{tmp_path / 'demo.db'}"
    demo = start("-m", "dash_user_tracker", "demo", "--port", "0", "--db", db)
    url = demo.wait_for(r"Open\s+(http\S+)")[1]
    demo.wait_for(re.escape(f"report --db {db}"))
    for _ in range(5):
        urllib.request.urlopen(url + "regions", timeout=30).close()
    assert demo.stop(number) == 0
    assert "Traceback" not in demo.output()
    assert "Stopped. Recorded in this run: 5 page views" in demo.output()
    assert numbers("--db", db, "--automated")["totals"]["views"] == 5


def test_a_port_in_use_is_told_and_leaves_no_file(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "dash_user_tracker", "demo", "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1 port {port}: ")
    assert done.stderr.rstrip().endswith("choose another with --port")
    assert os.listdir(tmp_path) == []


def test_a_demo_does_not_touch_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table orders (id)")
    connection.close()
    before = path.read_bytes()
    result = CliRunner().invoke(main, ["demo", "--port", "0", "--db", f"sqlite:///{path}"])
    assert (result.exit_code, f"Error: {path} is " in result.output) == (1, True)
    assert path.read_bytes() == before


def test_a_demo_cannot_keep_its_data_in_memory(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--port", "0", "--db", "sqlite:///:memory:"])
    assert (result.exit_code, "name a file" in result.output) == (2, True)

"""The ``dash-user-tracker`` command, in process and as a program."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shlex
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
from commands import Ran, run
from conftest import ROOT, Program
from http_server import Receiver

import dash_user_tracker
from dash_user_tracker import Event, SqlTrackerRepository
from dash_user_tracker.cli import main
from dash_user_tracker.codec import decode_event

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


def report(*arguments: str) -> Ran:
    return run("report", "--end", "2025-02-01", *arguments)


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


@pytest.mark.parametrize("name", [None, *main.commands])
def test_help_shows_an_example_that_the_command_understands(name: str | None) -> None:
    result = run(*([name] if name else []), "--help", terminal_width=200)
    assert result.exit_code == 0
    examples = re.findall(r"dash-user-tracker ([a-z-]+ [^\n]+)", result.output)
    assert examples
    for example in examples:
        command, *arguments = shlex.split(example.partition(" > ")[0])
        assert name in (None, command)
        main.commands[command].make_context(command, arguments)  # parses them, and runs nothing


@pytest.mark.parametrize("name", ["README.rst", "docs/commands.rst"])
def test_examples_in_the_docs_are_understood(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    examples = re.findall(r"^   dash-user-tracker (.+)$", text, re.MULTILINE)
    assert len(examples) >= 7
    for example in examples:
        command, *arguments = shlex.split(example)
        main.commands[command].make_context(command, arguments)


def test_every_command_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "commands.rst").read_text(encoding="utf-8")
    assert [name for name in main.commands if f"   dash-user-tracker {name} " not in text] == []


def test_every_command_has_a_line_of_help_that_fits() -> None:
    text = run("--help", terminal_width=80).output
    assert not [line for line in text.splitlines()[1:] if line.endswith("...")]


def test_starting_is_cheap(environment: dict[str, str]) -> None:
    code = (
        "import sys; from dash_user_tracker.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print('imported', sorted({'sqlalchemy', 'rich', 'requests', 'dash', 'pyarrow', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["imported []"], done.stderr


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
    assert absent in done.stderr.lower()
    assert 'pip install "dash-user-tracker[demo]"' in done.stderr


# -- report ----------------------------------------------------------------------------


def test_a_report_shows_who_did_what(tmp_path: Path) -> None:
    error = {"type": "builtins.KeyError", "where": "app:draw:7"}
    who = {"user_id": "ada", "full_name": "Ada Lovelace", "group": "Sales team"}
    run = {**who, "callback": "app:draw", "cause": "user", "trigger": "a.value"}
    db = stored(
        tmp_path,
        event(**who, path="/orders", route="/orders"),
        event(**who, path="/regions/west", route="/regions/<name>", minute=1),
        event("callback", **run, duration_ms=12.0, outcome="ok"),
        event("callback", **run, duration_ms=80.0, outcome="error", error=error, minute=2),
        event("export", user_id="ada"),
        event(automated=True),
    )
    result = report("--db", db)
    assert result.exit_code == 0
    text = result.output
    assert "1 user used Sales." in text
    assert "From 2025-01-02 00:00 to 2025-02-01 00:00, times in UTC" in text
    assert re.search(r"Page views\s+2\s+0\s+new\s+▁+█▁*", text)
    assert re.search(r"/regions/<name>\s+1\s+1\s+0\s", text)
    assert re.search(r"ada\s+Ada Lovelace\s+2\s+1\s+2\s+2025-01-30 12:02", text)
    assert re.search(r"Sales team\s+1\s+1\s+2", text)
    assert re.search(r"app:draw\s+92 ms\s+2\s+12 ms\s+80 ms\s+50.0%", text)
    assert re.search(r"KeyError\s+app:draw:7\s+1\s+1\s+-\s+2025-01-30\s+2025-01-30", text)
    assert re.search(r"export\s+1\s+1\s+0\s", text)
    assert re.search(r"2025-01-30 12:00\s+ada\s+/orders\s+/regions/<name>\s+2\s+2\s+2.0 min", text)
    assert "1 user in 7 days, 1 user in 28 days" in text


def test_json_has_the_same_numbers(tmp_path: Path) -> None:
    db = stored(tmp_path, event(user_id="ada"), event(automated=True))
    found = numbers("--db", db, "--start", "2025-01-30", "--tz", "Asia/Tokyo", "--app", "Sales")
    assert (found["start"], found["end"]) == ("2025-01-30T00:00:00+09:00", "2025-02-01T00:00:00+09:00")
    assert (found["tz"], found["interval"], found["exact"]) == ("Asia/Tokyo", "hour", True)
    assert (found["filters"]["app"], found["filters"]["automated"]) == ("Sales", False)
    assert (found["summary"][0]["views"], found["automated_views"]) == (1, 1)
    assert found["pages"][0]["last"] == "2025-01-30T21:00:00+09:00"
    assert sum(point["views"] for point in found["series"]) == 1


@pytest.mark.parametrize("table", ["summary", "series", "pages", "users", "active", "visits"])
def test_csv_has_the_rows_of_one_table(table: str, tmp_path: Path) -> None:
    db = stored(tmp_path, event(user_id="ada", path="=1+1"))
    result = report("--db", db, "--csv", table)
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert len(rows) == len(numbers("--db", db)[table])
    assert "=1+1" not in result.output or "'=1+1" in result.output


def test_an_empty_csv_is_empty(tmp_path: Path) -> None:
    assert report("--db", stored(tmp_path), "--csv", "pages").output == ""


def views_of(*arguments: str) -> int:
    found: int = numbers(*arguments)["summary"][0]["views"]
    return found


@pytest.mark.parametrize(
    ("arguments", "views"),
    [
        pytest.param([], 3, id="30 days by default"),
        pytest.param(["--start", "2025-01-30T12:01"], 2, id="start is included"),
        pytest.param(["--start", "2025-01-01", "--end", "2025-01-30T12:01"], 1, id="end is not"),
        pytest.param(["--start", "2025-01-30T13:02+01:00"], 1, id="an offset counts"),
        pytest.param(["--start", "2025-01-30T12:02Z"], 1, id="Z is UTC"),
        pytest.param(["--start", "2025-01-30T13:02", "--tz", "Europe/Berlin"], 1, id="a time zone counts"),
        pytest.param(["--start", "2025-01-01", "--end", "2025-01-30"], 0, id="a date is its midnight"),
        pytest.param(["--days", "2"], 3, id="two days before the end"),
        pytest.param(["--days", "1"], 0, id="the last day alone"),
        pytest.param(["--all"], 4, id="all"),
    ],
)
def test_a_report_covers_what_its_options_say(arguments: list[str], views: int, tmp_path: Path) -> None:
    db = stored(tmp_path, event(minute=-60 * 24 * 90), *(event(minute=minute) for minute in range(3)))
    assert views_of("--db", db, *arguments) == views


def test_start_and_days_say_the_end(tmp_path: Path) -> None:
    db = stored(tmp_path, event())
    arguments = ["report", "--db", db, "--json", "--start", "2025-03-29", "--days", "2", "--tz", "Europe/Berlin"]
    found = json.loads(run(*arguments).output)
    assert found["end"] == "2025-03-31T00:00:00+02:00"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("app", "Stock"),
        ("page", "/a/<b>"),
        ("path", "/a/1"),
        ("route", "/a/<b>"),
        ("user", "ada"),
        ("group", "Sales"),
        ("release", "1.2"),
        ("environment", "staging"),
        ("browser", "Firefox"),
        ("automated", "true"),
    ],
)
def test_a_filter_selects(option: str, value: str, tmp_path: Path) -> None:
    known = {"app": "app_name", "page": "route", "user": "user_id", "browser": "user_agent"}
    data = {known.get(option, option): "Firefox/1" if option == "browser" else value}
    db = stored(tmp_path, event(), event(), event(**{**data, **({"automated": True} if option == "automated" else {})}))
    assert views_of("--db", db, f"--{option}", value) == 1


def test_the_database_can_be_named_outside_of_the_command_line(tmp_path: Path) -> None:
    db = stored(tmp_path, event())
    result = run("report", "--all", "--json", env={"DASH_USER_TRACKER_DB": db})
    assert json.loads(result.output)["summary"][0]["views"] == 1


def test_an_endpoint_can_be_asked() -> None:
    with Receiver() as receiver:
        receiver.repository.save_events([event(user_id="ada"), event()])
        assert views_of("--db", receiver.url, "--api-key", "key") == 2


def test_a_missing_file_is_an_error_and_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    result = report("--db", f"sqlite:///{path}")
    assert result.exit_code == 1
    assert f"Error: {path} does not exist" in result.output
    assert not path.exists()


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    db = stored(tmp_path)
    result = report("--db", db)
    assert result.exit_code == 0
    assert f"Tracker(app, repository=SqlTrackerRepository({db!r}))" in result.output
    assert views_of("--db", db) == 0


def test_nothing_in_a_range_is_not_an_empty_store(tmp_path: Path) -> None:
    db = stored(tmp_path, event())
    result = report("--db", db, "--days", "1")
    assert (result.exit_code, "its first one is of 2025-01-30T12:00" in result.output) == (0, True)
    assert "No events that the filters select" in report("--db", db, "--app", "Stock").output


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
        pytest.param(["--db", "sqlite:///usage.db", "--tz", "Mars"], "Europe/Berlin", id="no time zone"),
        pytest.param(["--db", "sqlite:///usage.db", "--json", "--csv", "pages"], "choose one", id="two formats"),
        pytest.param(["--db", "sqlite:///usage.db", "--all", "--days", "3"], "leave --start and --days", id="all of 3"),
        pytest.param(
            ["--db", "sqlite:///usage.db", "--start", "2025-01-01", "--days", "3"], "one too many", id="three"
        ),
        pytest.param(
            ["--db", "sqlite:///usage.db", "--start", "0001-01-01", "--end", "2025-02-01"],
            "needs a period before start",
            id="nothing was before",
        ),
        pytest.param(
            ["--db", "sqlite:///usage.db", "--start", "9998-01-01", "--end", "9999-01-01"],
            "years 1900 to 9000",
            id="far away",
        ),
        pytest.param(["--db", "sqlite:///usage.db", "--user", ""], "--user: must not be empty", id="an unset variable"),
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
    assert result.exit_code == 1
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
    with contextlib.closing(SqlTrackerRepository(db)) as repository:
        assert repository.get_page_views()["count"] == 5


def test_a_demo_told_to_stop_before_it_serves_stops_as_cleanly(
    start: Callable[..., Program], environment: dict[str, str], tmp_path: Path
) -> None:
    browser = tmp_path / "browser"  # asked to open the page, it interrupts the demo, which waits for it
    browser.write_text("#!/bin/sh\nkill -INT $PPID\nsleep 1\n")
    browser.chmod(0o700)
    environment["BROWSER"] = f"{browser} %s"
    demo = start("-m", "dash_user_tracker", "demo", "--port", "0", "--db", f"sqlite:///{tmp_path / 'd.db'}", "--open")
    demo.wait_for(r"Stopped\. Recorded in this run: 0 page views")
    assert demo.process.wait(30) == 0


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
    result = run("demo", "--port", "0", "--db", f"sqlite:///{path}")
    assert (result.exit_code, f"Error: {path} is " in result.output) == (1, True)
    assert path.read_bytes() == before


def test_a_demo_cannot_keep_its_data_in_memory(tmp_path: Path) -> None:
    result = run("demo", "--port", "0", "--db", "sqlite:///:memory:")
    assert (result.exit_code, "name a file" in result.output) == (2, True)


def test_a_demo_can_be_filled_with_a_company(start: Callable[..., Program], tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'demo.db'}"
    demo = start("-m", "dash_user_tracker", "demo", "--port", "0", "--db", db, "--fill")
    demo.wait_for(r"Open\s+(http\S+)")
    assert demo.stop() == 0
    assert re.search(r"7,200 events of 30 days and 60 users, until .*demo.db", demo.output())
    assert "Recorded in this run: 0 page views" in demo.output()


# -- demo-data -------------------------------------------------------------------------


def test_demo_data_fills_a_store_once(tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'usage.db'}"
    arguments = ["demo-data", "--to", db, "--events", "1500", "--days", "20", "--end", "2025-02-01"]
    for _ in range(2):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert result.output.startswith("1,500 events of 20 days and 19 users, until 2025-02-01T00:00:00+00:00, in ")
    with contextlib.closing(SqlTrackerRepository(db)) as repository:
        assert len(repository.get_events(limit=None)) == 1500


def test_demo_data_can_be_lines() -> None:
    result = run("demo-data", "--to", "-", "--events", "20", "--end", "2025-02-01")
    assert len([decode_event(line) for line in result.stdout.splitlines()]) == 20


def test_demo_data_ends_in_times_that_a_calendar_holds() -> None:
    result = run("demo-data", "--to", "-", "--events", "20", "--end", "0001-01-05")
    assert (result.exit_code, "end must be in the years 1900 to 9000" in result.output) == (2, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Python on Linux")
@pytest.mark.parametrize(
    "arguments",
    [["demo-data", "--to", "-", "--events", "20"], ["export", "--db"], ["report", "--all", "--json", "--db"]],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_behind_standard_output_is_one_line(
    arguments: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    if arguments[-1] == "--db":
        arguments = [*arguments, stored(tmp_path, event())]
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "dash_user_tracker", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "Error: [Errno 28] No space left on device\n")

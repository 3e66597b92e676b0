"""Events out of a store and into one: whole, once each, and again after an interruption."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest
from commands import run
from conftest import Program
from http_server import Receiver
from sql_servers import SERVERS, database

from dash_user_tracker import Event, SqlTrackerRepository
from dash_user_tracker.codec import decode_event, encode_event
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.interchange import read_events

END = datetime(2025, 2, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(demo_events(Plan.of(events=1200, days=20, users=12, end=END)))


@pytest.fixture
def db(tmp_path: Path, events: list[Event]) -> str:
    """The URL of a database that holds *events*."""
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    with contextlib.closing(SqlTrackerRepository(url)) as repository:
        repository.save_events(events)
    return url


def stored(url: str) -> list[Event]:
    with contextlib.closing(SqlTrackerRepository(url)) as repository:
        return list(repository.export())


def content(path: Path) -> list[Any]:
    with path.open("rb") as stream:
        return list(read_events(stream))


# -- export ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.jsonl", "events.csv", "events.csv.gz", "events"])
def test_an_export_holds_every_event_oldest_first(name: str, db: str, events: list[Event], tmp_path: Path) -> None:
    path = tmp_path / name
    result = run("export", "--db", db, "--to", str(path))
    assert result.exit_code == 0, result.output
    assert result.stderr == f"1,200 events of {tmp_path / 'usage.db'} in {path}.\n"
    assert content(path) == events


def test_an_export_can_be_parquet(db: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="PYARROW IS NOT INSTALLED: Parquet is not tested")
    assert run("export", "--db", db, "--to", str(tmp_path / "events.parquet")).exit_code == 0
    assert parquet.read_table(tmp_path / "events.parquet").num_rows == 1200


def test_parquet_without_pyarrow_names_the_extra(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("export", "--db", db, "--to", str(tmp_path / "events.parquet"))
    assert result.exit_code == 1
    assert 'this needs pyarrow: pip install "dash-user-tracker[parquet]"' in result.output
    assert os.listdir(tmp_path) == ["usage.db"]


def test_standard_output_holds_nothing_but_events(db: str, events: list[Event]) -> None:
    result = run("export", "--db", db)
    assert [decode_event(line) for line in result.stdout.splitlines()] == events


def test_a_range_an_event_and_filters_select(db: str, events: list[Event]) -> None:
    since = END - timedelta(days=9)
    arguments = ["--start", "2025-01-23", "--event", "page_view", "--app", "Sales explorer", "--automated", "false"]
    result = run("export", "--db", db, *arguments)
    expected = [
        event
        for event in events
        if event.event == "page_view"
        and event.timestamp >= since
        and event.data["app_name"] == "Sales explorer"
        and not event.data["automated"]
    ]
    assert 0 < len(expected) < 600
    assert [decode_event(line) for line in result.stdout.splitlines()] == expected


def test_a_filter_keeps_automated_clients_unless_told(db: str, events: list[Event]) -> None:
    result = run("export", "--db", db, "--app", "Sales explorer")
    assert len(result.stdout.splitlines()) == sum(event.data["app_name"] == "Sales explorer" for event in events)


@pytest.mark.parametrize(
    ("to", "code", "told"),
    [
        pytest.param("usage.db", 1, "exists; name another file, or replace it with --overwrite", id="there already"),
        pytest.param("none/events.csv", 2, "is not a folder; create it first", id="no folder"),
        pytest.param(".", 2, "is a folder; name a file", id="a folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(to: str, code: int, told: str, db: str, tmp_path: Path) -> None:
    before = (tmp_path / "usage.db").read_bytes()
    result = run("export", "--db", db, "--to", str(tmp_path / to))
    assert (result.exit_code, told in result.output) == (code, True)
    assert (tmp_path / "usage.db").read_bytes() == before


def test_a_file_is_replaced_when_asked_for(db: str, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("former")
    assert run("export", "--db", db, "--to", str(tmp_path / "events.csv"), "--overwrite").exit_code == 0
    assert len(content(tmp_path / "events.csv")) == 1200


def test_an_empty_filter_exports_nobody_instead_of_everybody(db: str) -> None:
    result = run("export", "--db", db, "--user", "")
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.skipif(os.name != "posix", reason="needs Python on POSIX")
def test_what_is_no_file_is_written_to_and_not_replaced(db: str) -> None:
    assert run("export", "--db", db, "--to", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


def test_an_endpoint_can_be_exported(events: list[Event]) -> None:
    with Receiver() as receiver:
        receiver.repository.save_events(events[:50])
        result = run("export", "--db", receiver.url)
    assert [decode_event(line) for line in result.stdout.splitlines()] == events[:50]


def test_a_person_is_exported_whole(db: str, events: list[Event]) -> None:
    user = next(event.data["user_id"] for event in events if event.data["user_id"] != "anonymous")
    result = run("export-user", user, "--db", db)
    assert [decode_event(line) for line in result.stdout.splitlines()] == [
        event for event in events if event.data["user_id"] == user
    ]


def test_anonymous_is_no_person(db: str) -> None:
    result = run("export-user", "anonymous", "--db", db)
    assert (result.exit_code, "anonymous" in result.output) == (2, True)


def test_a_reader_that_has_had_enough_is_no_failure(db: str, environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m dash_user_tracker export --db {db} | head -n 1"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("server", SERVERS)
def test_a_database_server_is_a_store_like_any_other(server: str, db: str, tmp_path: Path) -> None:
    with database(server) as url:
        run("export", "--db", db, "--to", str(tmp_path / "from-file.csv"))
        for _ in range(2):
            assert run("import", str(tmp_path / "from-file.csv"), "--db", url).exit_code == 0
        result = run("export", "--db", url, "--to", str(tmp_path / "from-server.csv"))
    assert (result.exit_code, f"1,200 events of {server}://" in result.stderr) == (0, True)
    assert (tmp_path / "from-server.csv").read_bytes() == (tmp_path / "from-file.csv").read_bytes()


# -- import ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.jsonl", "events.csv", "events.jsonl.gz"])
def test_an_import_twice_stores_every_event_once(name: str, db: str, events: list[Event], tmp_path: Path) -> None:
    assert run("export", "--db", db, "--to", str(tmp_path / name)).exit_code == 0
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    for _ in range(2):
        result = run("import", str(tmp_path / name), "--db", copy)
        assert result.exit_code == 0, result.output
        assert result.output.startswith("1,200 events read and stored, from 2025-01-12 ")
    assert stored(copy) == events


def test_standard_input_is_a_file(events: list[Event], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    lines = "\n".join(map(encode_event, events[:10]))
    assert run("import", "-", "--db", url, input=lines).exit_code == 0
    assert stored(url) == events[:10]


def test_an_endpoint_takes_an_import(events: list[Event]) -> None:
    with Receiver(batch=100) as receiver:
        lines = "\n".join(map(encode_event, events[:250]))
        assert run("import", "-", "--db", receiver.url, input=lines).exit_code == 0
        assert sorted(event.id for event in receiver.repository.events) == sorted(event.id for event in events[:250])


def test_events_of_version_1_are_taken_over_once(tmp_path: Path) -> None:
    path, url = tmp_path / "old.json", f"sqlite:///{tmp_path / 'usage.db'}"
    data = {"endpoint": "/", "path": "/", "url": "http://apps/", "user_id": "ada", "app_name": "Sales"}
    document = {"event": "page_view", "timestamp": "2025-01-30T20:29:28.543062+00:00", "data": data}
    path.write_text(json.dumps(document) + "\n" + json.dumps({**document, "timestamp": "2025-01-30T20:30:00+00:00"}))
    for _ in range(2):
        assert run("import", str(path), "--db", url).exit_code == 0
    assert [(event.event, event.data["path"], event.data["navigation"]) for event in stored(url)] == [
        ("page_view", "/", "load")
    ] * 2


def test_bad_lines_are_told_counted_and_left_out(events: list[Event], tmp_path: Path) -> None:
    path, url = tmp_path / "events.jsonl", f"sqlite:///{tmp_path / 'usage.db'}"
    path.write_text("\n".join([encode_event(events[0]), "{}", encode_event(events[1]), *["{"] * 30]))
    result = run("import", str(path), "--db", url)
    assert result.exit_code == 0
    assert f"{path}, line 2: an event needs the text 'id', got None" in result.output
    assert f"{path}, line 4: not JSON" in result.output
    assert result.output.count(", line ") == 20
    assert "2 events read and stored" in result.output
    assert result.output.endswith("; 31 lines left out.\n")
    assert stored(url) == events[:2]


def test_strict_stops_at_the_first_bad_line_and_keeps_what_was_stored(events: list[Event], tmp_path: Path) -> None:
    path, url = tmp_path / "events.jsonl", f"sqlite:///{tmp_path / 'usage.db'}"
    path.write_text("\n".join([*map(encode_event, events[:700]), "{", encode_event(events[700])]))
    result = run("import", str(path), "--db", url, "--strict")
    assert result.exit_code == 1
    assert f"{path}, line 701: not JSON" in result.output
    assert "500 events are stored. Run the same command again for the rest." in result.output
    assert stored(url) == events[:500]


@pytest.mark.parametrize(
    ("written", "code", "told"),
    [
        pytest.param(None, 2, "is not a file", id="no file"),
        pytest.param(b"%PDF", 1, "neither JSON lines nor CSV", id="something else"),
        pytest.param(gzip.compress(b"{}\n" * 99)[:-9], 1, "Run the same command again", id="cut off"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(written: bytes | None, code: int, told: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    if written is not None:
        path.write_bytes(written)
    result = run("import", str(path), "--db", f"sqlite:///{tmp_path / 'usage.db'}")
    assert (result.exit_code, told in result.output) == (code, True), result.output


# -- Ctrl-C ----------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_import_is_finished_by_running_it_again(
    number: int, code: int, start: Callable[..., Program], events: list[Event], tmp_path: Path
) -> None:
    url, source = f"sqlite:///{tmp_path / 'usage.db'}", tmp_path / "events.jsonl"
    source.write_text("".join(encode_event(event) + "\n" for event in events))
    # Its standard input gives two batches and a half, and then nothing.
    program = start(
        "-c",
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'dash_user_tracker', 'import', '-', '--db', sys.argv[1]]\n"
        "process = subprocess.Popen(command, stdin=subprocess.PIPE)\n"
        "print('pid', process.pid, flush=True)\n"
        "for line in open(sys.argv[2], 'rb').readlines()[:1100]: process.stdin.write(line)\n"
        "process.stdin.flush()\n"
        "sys.exit(process.wait())\n",
        url,
        str(source),
    )
    pid = int(program.wait_for(r"pid (\d+)")[1])
    _until(lambda: len(stored(url)) >= 1000)
    os.kill(pid, number)
    assert program.process.wait(60) == code
    assert "Interrupted. 1,000 events are stored. Run the same command again for the rest." in program.output()
    assert stored(url) == events[:1000]
    assert run("import", str(source), "--db", url).exit_code == 0
    assert stored(url) == events


def test_an_interrupted_export_leaves_nothing_and_works_again(
    start: Callable[..., Program], db: str, events: list[Event], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "events.jsonl"
    path.parent.mkdir()
    # A store whose second half comes when the test says so.
    program = start(
        "-c",
        "import sys, time\n"
        "from dash_user_tracker import SqlTrackerRepository\n"
        "from dash_user_tracker.cli import main\n"
        "whole = SqlTrackerRepository.export\n"
        "def export(self, *arguments, **more):\n"
        "    for number, event in enumerate(whole(self, *arguments, **more)):\n"
        "        if number == 700:\n"
        "            print('half', flush=True)\n"
        "            time.sleep(60)\n"
        "        yield event\n"
        "SqlTrackerRepository.export = export\n"
        "main(['export', '--db', sys.argv[1], '--to', sys.argv[2]])\n",
        db,
        str(path),
    )
    program.wait_for("half")
    assert len(os.listdir(path.parent)) == 1
    assert not path.exists()
    assert program.stop() == 130
    assert "Interrupted. Nothing was written." in program.output()
    assert os.listdir(path.parent) == []
    assert run("export", "--db", db, "--to", str(path)).exit_code == 0
    assert content(path) == events


def _until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)

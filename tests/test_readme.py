"""The README's lines, run as they are printed, and the examples, started as they say."""

from __future__ import annotations

import json
import re
import socket
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Callable

import attrs
import pytest
from conftest import ROOT, Program

from dash_user_tracker import MemoryTrackerRepository, SqlTrackerRepository, Tracker
from dash_user_tracker.events import PAGE_KEYS

README = (ROOT / "README.rst").read_text(encoding="utf-8")
ENDPOINT = "https://usage.example.com/events"


@attrs.frozen
class Block:
    section: str
    language: str
    text: str


def blocks() -> list[Block]:
    """The code blocks, each with the title of the section it is in."""
    found = []
    section = ""
    lines = README.splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"=+|-+|~+", line) and number and len(line) == len(lines[number - 1]):
            section = lines[number - 1]
        directive = re.fullmatch(r"\.\. code-block:: (\w+)", line)
        if directive:
            body = []
            for follower in lines[number + 1 :]:
                if follower and not follower.startswith("   "):
                    break
                body.append(follower)
            found.append(Block(section, directive[1], textwrap.dedent("\n".join(body)).strip()))
    return found


def python_of(section: str) -> str:
    return "\n\n".join(block.text for block in blocks() if (block.section, block.language) == (section, "python"))


SECTIONS = sorted({block.section for block in blocks() if block.language == "python"})
APP = python_of("Use it").partition("from dash_user_tracker")[0]

#: A client who knows nothing but the names that the README uses; run after the section's lines.
STRANGER = """
tracker = globals().get("tracker") or application
if "application" in globals():
    from werkzeug.test import Client
    client = Client(application)
else:
    client = app.server.test_client()
assert client.get("/").status_code == 200
assert tracker.flush(10)
stats = tracker.stats()
assert stats["accepted"] == stats["delivered"] >= 1, stats
tracker.close()
print("DONE")
"""


@pytest.mark.parametrize("section", SECTIONS)
def test_the_python_of_each_section_runs(
    section: str, start: Callable[..., Program], tmp_path: Path, receiver: Receiver
) -> None:
    lines = python_of(section)
    if not lines.startswith(APP):
        lines = APP + lines
    # The one thing that no test can use as it is: somebody's host.
    (tmp_path / "readme.py").write_text(lines.replace(ENDPOINT, receiver.endpoint) + STRANGER, encoding="utf-8")
    program = start("-W", "error", "readme.py")
    assert program.process.wait(60) == 0, program.output()
    assert program.output().rstrip().endswith("DONE")
    if ENDPOINT in lines:
        assert [document["event"] for document in receiver.documents] == ["page_view"]
        assert receiver.keys == [("from your configuration", receiver.documents[0]["id"])]


def test_every_section_that_shows_python_is_run() -> None:
    assert {
        "Use it",
        "Keep it",
        "Who it is",
        "In your tests",
        "When things fail",
        "Lose nothing",
        "In production",
    } <= set(SECTIONS)


def test_the_printed_event_has_the_keys_of_a_real_one(start: Callable[..., Program], tmp_path: Path) -> None:
    (printed,) = (json.loads(block.text) for block in blocks() if block.language == "json")
    (tmp_path / "app.py").write_text(python_of("Use it") + "\napp.server.test_client().get('/')\ntracker.close()")
    program = start("app.py")
    assert program.process.wait(60) == 0, program.output()
    (real,) = (json.loads(line) for line in program.output().splitlines())
    assert list(printed) == list(real)
    assert list(printed["data"]) == list(real["data"])
    assert list(printed["data"])[: len(PAGE_KEYS)] == list(PAGE_KEYS)


def test_every_key_of_an_event_is_explained() -> None:
    explained = set(re.findall(r"^``(\w+)``", (ROOT / "docs" / "events.rst").read_text(encoding="utf-8"), re.MULTILINE))
    (printed,) = (json.loads(block.text) for block in blocks() if block.language == "json")
    assert set(printed) | set(printed["data"]) <= explained


def test_proxy_fix_may_be_put_around_the_app_before_or_after_the_tracker() -> None:
    from dash import Dash, html
    from werkzeug.middleware.proxy_fix import ProxyFix

    for tracker_first in (True, False):
        app = Dash("proxied")
        app.layout = html.P()
        repository = MemoryTrackerRepository()
        steps: list[Callable[[], object]] = [
            lambda app=app, repository=repository: Tracker(app, repository=repository),  # type: ignore[misc]
            lambda app=app: setattr(app.server, "wsgi_app", ProxyFix(app.server.wsgi_app, x_for=1, x_host=1)),  # type: ignore[misc]
        ]
        made = [step() for step in (steps if tracker_first else steps[::-1])]
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "usage.example"}
        app.server.test_client().get("/", headers=headers)
        tracker = next(one for one in made if isinstance(one, Tracker))
        assert tracker.flush(10)
        (view,) = repository.get_page_views()["data"]
        assert (view["ip"], view["url"]) == ("203.0.113.9", "http://usage.example/")
        tracker.close()


def test_the_test_command_stands_alone_on_its_line_for_ci() -> None:
    assert re.findall(r"^   python3 -m venv .* -m pytest$", README, re.MULTILINE) == [
        '   python3 -m venv .venv && .venv/bin/pip install ".[test]" && .venv/bin/python -m pytest'
    ]
    assert "python3 -m venv .* -m pytest$" in (ROOT / ".ci" / "run").read_text()


def test_links_of_the_readme_are_there() -> None:
    for target in re.findall(r"<([\w./]+)>`_|^\.\. image:: (\S+)", README, re.MULTILINE):
        assert (ROOT / "".join(target)).exists(), target


# -- examples --------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def printed_views(program: Program, path: Path) -> list[dict[str, object]]:
    """The page views on standard output."""
    program.wait_for('"event":"page_view"')
    found = [json.loads(line) for line in program.output().splitlines() if line.startswith('{"id"')]
    return [document["data"] for document in found if document["event"] == "page_view"]


def lines_of_file(program: Program, path: Path) -> list[dict[str, object]]:
    """The page views in usage.jsonl."""
    file = path / "usage.jsonl"
    until(lambda: file.exists() and file.read_text().endswith("\n"), program)
    return [json.loads(line)["data"] for line in file.read_text().splitlines()]


def rows_of_database(program: Program, path: Path) -> list[dict[str, object]]:
    """The page views in usage.db, oldest first."""
    repository = SqlTrackerRepository(f"sqlite:///{path / 'usage.db'}")
    until(lambda: repository.get_page_count() == 2, program)
    data: list[dict[str, object]] = repository.get_page_views()["data"]
    return data[::-1]


def until(condition: Callable[[], bool], program: Program, *, seconds: float = 30) -> None:
    """Waits for *condition*, for which *program* has to do something."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s\n{program.output()}")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("example", "paths", "read", "expected"),
    [
        pytest.param("basic", ["/"], printed_views, [("Hello", "/", "anonymous")], id="basic"),
        pytest.param(
            "own_repository", ["/"], lines_of_file, [("Own repository", "/", "anonymous")], id="own_repository"
        ),
        pytest.param(
            "two_apps",
            ["/sales/", "/stock/"],
            rows_of_database,
            [("Sales", "/sales/", "anonymous"), ("Stock", "/stock/", "anonymous")],
            id="two_apps",
        ),
        pytest.param("middleware_only", ["/"], printed_views, [("Plain WSGI", "/", "anonymous")], id="middleware_only"),
        pytest.param("login", ["/login/ada"], printed_views, [("Login", "/", "ada")], id="login"),
    ],
)
def test_an_example_serves_and_records(
    example: str,
    paths: list[str],
    read: Callable[[Program, Path], list[dict[str, object]]],
    expected: list[tuple[str, str, str]],
    start: Callable[..., Program],
    tmp_path: Path,
) -> None:
    port = free_port()
    program = start(str(ROOT / "examples" / f"{example}.py"), PORT=str(port), HOST="127.0.0.1")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    for path in paths:
        fetch(browser, program, f"http://127.0.0.1:{port}{path}")
    views = read(program, tmp_path)
    assert [(view["app_name"], view["path"], view["user_id"]) for view in views] == expected


def fetch(browser: urllib.request.OpenerDirector, program: Program, url: str) -> None:
    """GET *url* as soon as the program listens."""
    while True:
        try:
            browser.open(url, timeout=30).close()
            return
        except urllib.error.HTTPError as error:
            pytest.fail(f"{error}\n{program.output()}")
        except OSError:
            if program.process.poll() is not None:
                pytest.fail(program.output())


def test_every_example_is_started_by_a_test() -> None:
    started = set(re.findall(r'id="(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} <= started


# -- a receiver ------------------------------------------------------------------------


@attrs.define
class Receiver:
    """An HTTP endpoint that keeps what it gets."""

    endpoint: str
    documents: list[dict[str, object]] = attrs.Factory(list)
    keys: list[tuple[str | None, str | None]] = attrs.Factory(list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.documents.append(json.loads(body))
            got.keys.append((self.headers["X-API-Key"], self.headers["Idempotency-Key"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got = Receiver(f"http://127.0.0.1:{server.server_address[1]}/events")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield got
        server.shutdown()
        thread.join()

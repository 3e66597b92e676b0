"""What several tests need: programs to start, a Chromium to drive, and no test that is skipped unnoticed in CI."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Callable

import attrs
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

#: A test may be skipped for these even in CI; for anything else CI is set up.
ALLOWED_SKIPS = re.compile(r"needs Dash|needs Python|needs the right to mount")


@attrs.define
class Program:
    """A running program; its output goes to a file, so that no full pipe can stop it."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, *, seconds: float = 60) -> re.Match[str]:
        """The first match of *pattern* in the output, which must come before the program ends."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.output(), re.MULTILINE)
            if found:
                return found
            if ended or time.monotonic() > deadline:
                why = f"it ended with {self.process.returncode}" if ended else f"{seconds} s passed"
                pytest.fail(f"no {pattern!r} in the output: {why}\n{self.output()}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> int:
        """The exit code after the signal *number*.

        A worker of gunicorn's that is told to end before it listens for that is killed 30 seconds later.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"still running 60 s after signal {number}\n{self.output()}")


@pytest.fixture
def environment() -> dict[str, str]:
    """Variables for a program that imports this checkout, wherever it runs, and little else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Program]]:
    """Starts ``python *arguments*`` in *tmp_path*; it is stopped after the test."""
    programs: list[Program] = []

    def start(*arguments: str, **variables: str) -> Program:
        log = tmp_path / f"output-{len(programs)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env={**environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        programs.append(Program(process, log))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture
def chromium() -> Callable[..., AbstractContextManager[Any]]:
    """``with chromium() as page:`` a page of a real Chromium; asyncio is free again only after the block.

    *without* are arguments of Playwright's that Chromium shall not get.
    """
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        _missing("NO CHROMIUM on PATH: what a browser does is not tested; apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("PLAYWRIGHT IS NOT INSTALLED: what a browser does is not tested; pip install playwright")

    @contextmanager
    def opened(without: Sequence[str] = ()) -> Iterator[Any]:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=path, args=list(CHROMIUM_FLAGS), ignore_default_args=list(without)
            )
            page = browser.new_page()
            page.set_default_timeout(30_000)
            try:
                yield page
            finally:
                browser.close()

    return opened


def _missing(what: str) -> None:
    if os.environ.get("DASH_USER_TRACKER_REQUIRE_BROWSER"):
        pytest.fail(what)
    pytest.skip(what)


class _NoSkips:
    """Fails the session when a test was skipped for a reason that CI has no excuse for."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            if not ALLOWED_SKIPS.search(reason):
                self.skipped.append(f"{report.nodeid}: {reason}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.append(f"{report.nodeid}: {report.longrepr}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in self.skipped:
            terminalreporter.write_line(f"CI may not skip: {line}", red=True)


# A busy machine is no finding.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI"):
        config.pluginmanager.register(_NoSkips())

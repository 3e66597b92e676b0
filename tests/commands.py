"""Runs the command in this process, the same way with every click."""

from __future__ import annotations

import inspect
from typing import Any

import attrs
from click.testing import CliRunner

from dash_user_tracker.cli import main


@attrs.frozen
class Ran:
    exit_code: int
    stdout: str
    stderr: str
    exception: BaseException | None

    @property
    def output(self) -> str:
        """Both, standard output first."""
        return self.stdout + self.stderr


def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Ran:
    """What came of ``dash-user-tracker *arguments*``; an exception that is no exit is raised."""
    # Until click 8.2 both streams are one unless told; since then they are two.
    apart = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    result = CliRunner(**apart).invoke(main, arguments, env={"COLUMNS": "120", **(env or {})}, **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr, result.exception)

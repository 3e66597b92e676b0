"""One log line for what an operator should know."""

from __future__ import annotations

import logging

import pytest

from dash_user_tracker.hints import PAGES, Hints


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "dash_user_tracker")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_pages_without_their_script_are_told_once(said):
    hints = Hints()
    for _ in range(PAGES - 1):
        hints.page_without_script()
    assert said() == []
    for _ in range(PAGES):
        hints.page_without_script()
    ((level, text),) = said()
    assert level == "WARNING"
    assert "doctor" in text


def test_a_script_that_is_blocked_for_some_is_not_worth_a_line(said):
    hints = Hints()
    hints.page_with_script()
    for _ in range(2 * PAGES):
        hints.page_without_script()
    assert said() == []


def test_a_missing_key_is_told_once(said):
    hints = Hints()
    for _ in range(3):
        hints.no_visitor_key()
    ((level, text),) = said()
    assert level == "INFO"
    assert "SECRET_KEY" in text

"""The examples of docs/metrics.rst, and that it names all there is."""

from __future__ import annotations

import doctest
import re

import attrs
import pytest
from conftest import ROOT

from dash_user_tracker.metrics.filters import Filters
from dash_user_tracker.metrics.queries import QUESTIONS
from dash_user_tracker.metrics.words import DIMENSIONS, METRICS, PAGE_METRICS

PAGE = ROOT / "docs" / "metrics.rst"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_example_says_what_it_prints() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 40
    assert found.failed == 0


@pytest.mark.parametrize("method", sorted(QUESTIONS))
def test_every_question_is_explained_with_its_address(method: str) -> None:
    titles = [title for line in re.findall(r"^(.+)\n~+$", TEXT, re.MULTILINE) for title in line.split(", ")]
    assert method in titles
    question = QUESTIONS[method]
    verb = "POST" if question.body else "GET"
    (row,) = re.findall(rf"^``{verb} {question.address}`` +(.*)$", TEXT, re.MULTILINE)
    assert set(question.arguments) <= set(re.findall(r"``(\w+)``", row))


def test_every_metric_dimension_and_filter_is_named() -> None:
    named = set(re.findall(r"``(\w+)``", TEXT))
    assert {*METRICS, *PAGE_METRICS, *DIMENSIONS, *(field.name for field in attrs.fields(Filters))} <= named

"""The page script as it is served: made from its source, and small."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import dash_user_tracker
from dash_user_tracker.page_script import PageScript

SOURCE = Path(dash_user_tracker.__file__).with_name("page_script.js")


def test_what_is_served_was_made_from_the_source():
    about, _, code = PageScript.read().text.partition("\n")
    digest = hashlib.sha256(SOURCE.read_bytes() + code.encode()).hexdigest()[:8]
    assert about == f"// page_script.js {digest}", "page_script.js was changed: run tox -e script"


def test_it_is_small():
    text = PageScript.read().text
    assert len(text) < 2400
    assert len(gzip.compress(text.encode(), 9)) < 1370


def test_it_is_plain_ascii_and_ends_with_a_line_end():
    # Whatever charset the page around it has, it reads the same.
    text = PageScript.read().text
    assert text.isascii()
    assert text.endswith("}\n")

"""The page script: its text, its address and its tag."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from .classify import SCRIPT_PATH


@attrs.frozen
class PageScript:
    """What browsers get; *version* changes with the text, so that it can be cached for good."""

    text: str
    version: str

    @classmethod
    def read(cls) -> PageScript:
        """The script of this package. It is made from ``page_script.js``, see there."""
        text = Path(__file__).with_suffix(".min.js").read_text("utf-8")
        return cls(text, hashlib.sha256(text.encode()).hexdigest()[:12])

    def tag(self, prefix: str) -> str:
        """The one thing that is added to a Dash index, for the app that browsers see under *prefix*."""
        return f'<script src="{prefix}{SCRIPT_PATH}?v={self.version}"></script>'

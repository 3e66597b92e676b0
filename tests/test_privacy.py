"""People are told apart for a day, and not known."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dash_user_tracker.privacy import visitor_id

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
SAME: dict[str, Any] = {"key": b"secret", "when": NOON, "app_name": "Sales", "ip": "10.0.0.7", "user_agent": "Mozilla"}


def visitor(**changes: Any) -> str | None:
    facts = {**SAME, **changes}
    return visitor_id(facts.pop("key"), **facts)


def test_a_visitor_is_16_hex_digits_and_the_same_on_every_host() -> None:
    # HMAC-SHA256("secret", "2026-11-23|Sales|10.0.0.7|Mozilla"), as any other program computes it.
    expected = hmac.new(b"secret", b"2026-11-23|Sales|10.0.0.7|Mozilla", hashlib.sha256).hexdigest()[:16]
    assert visitor() == expected


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"key": b"another"}, id="key"),
        pytest.param({"when": NOON + timedelta(days=1)}, id="day"),
        pytest.param({"app_name": "Stock"}, id="app"),
        pytest.param({"ip": "10.0.0.8"}, id="ip"),
        pytest.param({"user_agent": "Firefox"}, id="user-agent"),
    ],
)
def test_another_key_day_app_address_or_browser_is_another_visitor(changes: dict[str, Any]) -> None:
    assert visitor(**changes) != visitor()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"when": NOON.replace(hour=0)}, id="first-hour-of-the-day"),
        pytest.param({"when": NOON.replace(hour=23, minute=59)}, id="last-hour-of-the-day"),
        pytest.param({"key": "secret"}, id="key-as-text"),
        pytest.param(
            {"when": datetime(2026, 11, 24, 5, tzinfo=timezone(timedelta(hours=9)))}, id="clock-of-another-zone"
        ),
    ],
)
def test_it_is_the_same_visitor_all_through_one_utc_day(changes: dict[str, Any]) -> None:
    assert visitor(**changes) == visitor()


@pytest.mark.parametrize("changes", [{"key": None}, {"key": b""}, {"key": ""}, {"ip": None}, {"ip": ""}], ids=repr)
def test_without_a_key_or_an_address_there_is_no_visitor(changes: dict[str, Any]) -> None:
    assert visitor(**changes) is None


@pytest.mark.parametrize("changes", [{"app_name": None}, {"user_agent": None}], ids=repr)
def test_a_missing_name_or_browser_still_makes_a_visitor(changes: dict[str, Any]) -> None:
    assert re.fullmatch("[0-9a-f]{16}", visitor(**changes) or "")


@given(st.text(), st.text(min_size=1))
def test_any_user_agent_and_address_make_a_visitor(user_agent: str, ip: str) -> None:
    found = visitor(user_agent=user_agent, ip=ip)
    assert re.fullmatch("[0-9a-f]{16}", found or "")


@given(st.ip_addresses(v=4).map(str), st.ip_addresses(v=4).map(str))
def test_two_addresses_are_two_visitors(one: str, other: str) -> None:
    assume(one != other)
    assert visitor(ip=one) != visitor(ip=other)

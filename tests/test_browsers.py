"""Browsers by their User-Agent, and sites by the Referer."""

from __future__ import annotations

import pytest

from dash_user_tracker.metrics.browsers import browser_of
from dash_user_tracker.metrics.referrers import referrer_site

_APPLE = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_APPLE} Chrome/129.0.0.0 Safari/537.36", "Chrome"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_APPLE} Chrome/129.0.0.0 Safari/537.36 Edg/129.0.0.0", "Edge"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_APPLE} Chrome/129.0.0.0 Safari/537.36 OPR/114.0.0.0", "Opera"),
        (
            f"Mozilla/5.0 (Linux; Android 14) {_APPLE} SamsungBrowser/25.0 Chrome/121.0 Safari/537.36",
            "Samsung Internet",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 FxiOS/130.0 Safari/605.1",
            "Firefox",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 CriOS/129.0 Safari/604.1",
            "Chrome",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 Version/17.6 Safari/605.1.15", "Safari"),
        ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer"),
        ("curl/8.5.0", "Other"),
        ("", None),
        (None, None),
    ],
)
def test_a_browser_is_named_by_its_own_token(user_agent: str | None, expected: str | None) -> None:
    assert browser_of(user_agent) == expected


@pytest.mark.parametrize(
    ("referrer", "address", "expected"),
    [
        ("https://wiki.example/page", "https://app.example/", "wiki.example"),
        ("https://WWW.Wiki.example:8443/page", "https://app.example/", "wiki.example"),
        ("https://app.example/other", "https://app.example/", None),
        ("http://www.app.example:8050/other", "https://app.example/", None),
        ("https://app.example/", None, "app.example"),
        ("https://[broken", "https://app.example/", None),
        ("no address", "https://app.example/", None),
        ("https://www./", "https://app.example/", "www."),
        (None, "https://app.example/", None),
        (None, None, None),
    ],
)
def test_a_site_is_the_host_of_another_one(referrer: str | None, address: str | None, expected: str | None) -> None:
    assert referrer_site(referrer, address) == expected

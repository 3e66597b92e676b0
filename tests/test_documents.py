"""What a document request says about who asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from dash_user_tracker.classify import DOCUMENT
from dash_user_tracker.documents import is_foreign, is_prefetch, is_proxied, is_robot, left_to_script
from dash_user_tracker.request import Observation

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def document(**facts: Any) -> Observation:
    return Observation(**{"kind": DOCUMENT, "host": "intranet:8050", "user_agent": CHROME, **facts})


@pytest.mark.parametrize(
    ("purpose", "prefetch"),
    [
        pytest.param("prefetch", True, id="link-or-speculation-rules"),
        pytest.param("prefetch;prerender", True, id="prerender"),
        pytest.param("preview", True, id="safari"),
        pytest.param("", False, id="absent"),
        pytest.param("navigation", False, id="other"),
    ],
)
def test_a_stated_purpose_tells_a_prefetch(purpose: str, prefetch: bool) -> None:
    assert is_prefetch(document(purpose=purpose)) is prefetch


@pytest.mark.parametrize(
    "user_agent",
    [
        pytest.param(CHROME, id="chrome"),
        pytest.param(FIREFOX, id="firefox"),
        pytest.param(CHROME.replace("Chrome/", "HeadlessChrome/"), id="headless-chrome"),
        pytest.param(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/17.5 Mobile/15E148 Safari/604.1",
            id="iphone",
        ),
        pytest.param("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", id="internet-explorer"),
        pytest.param("Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Mobile", id="cubot"),
    ],
)
def test_a_browser_is_no_robot(user_agent: str) -> None:
    assert not is_robot(user_agent)


@pytest.mark.parametrize(
    "user_agent",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("curl/8.5.0", id="curl"),
        pytest.param("python-requests/2.32", id="requests"),
        pytest.param("Werkzeug/3.0.6", id="test-client"),
        pytest.param("kube-probe/1.29", id="kubernetes"),
        pytest.param("ELB-HealthChecker/2.0", id="load-balancer"),
        pytest.param(GOOGLEBOT, id="googlebot"),
        pytest.param("Mozilla/5.0 (compatible; bingbot/2.0)", id="bingbot"),
        pytest.param("Mozilla/5.0 (compatible; YandexBot/3.0)", id="letters-of-any-case"),
        pytest.param("Mozilla/5.0 (compatible; Baiduspider/2.0)", id="spider"),
        pytest.param("Mozilla/5.0 (compatible; UptimeRobot/2.0)", id="uptime"),
        pytest.param("Mozilla/5.0 (compatible; crawler)", id="crawler"),
        pytest.param(CHROME + " Chrome-Lighthouse", id="lighthouse"),
        pytest.param("x" + CHROME, id="mozilla-not-at-the-start"),
    ],
)
def test_what_is_no_browser_or_names_a_robot_is_one(user_agent: str | None) -> None:
    assert is_robot(user_agent)


@pytest.mark.parametrize(
    ("facts", "left"),
    [
        pytest.param({"fetch_dest": "document", "scheme": "https"}, True, id="browser-over-https"),
        pytest.param({"fetch_dest": "document", "host": "localhost:8050"}, True, id="browser-on-loopback"),
        pytest.param({"fetch_dest": "document", "user_agent": ""}, True, id="browser-that-hides-its-name"),
        pytest.param({"fetch_dest": "iframe"}, True, id="frame-runs-its-script"),
        pytest.param({"fetch_dest": "empty"}, True, id="fetch-of-a-page-shows-nothing"),
        pytest.param({}, True, id="browser-over-plain-http-to-an-intranet-name"),
        pytest.param({"host": "10.0.0.7"}, True, id="browser-over-plain-http-to-an-address"),
        pytest.param({"scheme": "https"}, False, id="https-without-metadata-is-no-browser"),
        pytest.param({"host": "localhost:8050"}, False, id="loopback-without-metadata-is-no-browser"),
        pytest.param({"host": "127.0.0.1:8050"}, False, id="loopback-address-without-metadata"),
        pytest.param({"host": ""}, False, id="no-host"),
        pytest.param({"host": "127.0.0.1:8050", "proxied": True}, True, id="browser-behind-a-proxy-that-renames"),
        pytest.param({"proxied": True, "user_agent": "curl/8.5.0"}, False, id="curl-behind-a-proxy"),
        pytest.param({"proxied": True, "scheme": "https"}, False, id="https-behind-a-proxy-has-metadata"),
        pytest.param({"user_agent": GOOGLEBOT}, False, id="robot"),
        pytest.param({"user_agent": "curl/8.5.0"}, False, id="curl"),
        pytest.param({"user_agent": ""}, False, id="nameless"),
    ],
)
def test_a_document_that_a_browser_shows_is_left_to_its_script(facts: dict[str, Any], left: bool) -> None:
    assert left_to_script(document(**facts)) is left


@pytest.mark.parametrize(
    ("environ", "proxied"),
    [
        pytest.param({"SERVER_PROTOCOL": "HTTP/1.1"}, False, id="browser"),
        pytest.param({"SERVER_PROTOCOL": "HTTP/1.0"}, True, id="nginx-as-it-comes"),
        pytest.param({"HTTP_X_FORWARDED_FOR": "10.0.0.7"}, True, id="address-of-the-client"),
        pytest.param({"HTTP_VIA": "1.1 gateway"}, True, id="via"),
        pytest.param({}, False, id="fake"),
    ],
)
def test_a_proxy_is_known_by_what_no_browser_sends(environ: dict[str, str], proxied: bool) -> None:
    assert is_proxied(environ) is proxied


@pytest.mark.parametrize(
    ("environ", "foreign"),
    [
        pytest.param({}, False, id="nothing-known"),
        pytest.param({"HTTP_ORIGIN": "http://intranet:8050"}, False, id="own-origin"),
        pytest.param({"HTTP_ORIGIN": "https://Intranet"}, False, id="tls-and-ports-are-a-proxys-business"),
        pytest.param({"HTTP_ORIGIN": "http://evil.example"}, True, id="other-origin"),
        pytest.param({"HTTP_ORIGIN": "http://intranet.evil.example"}, True, id="own-name-in-front"),
        pytest.param({"HTTP_ORIGIN": "http://intranet@evil.example"}, True, id="own-name-as-a-user"),
        pytest.param({"HTTP_ORIGIN": "null"}, True, id="sandboxed"),
        pytest.param({"HTTP_ORIGIN": "http://[::1"}, True, id="malformed"),
        pytest.param({"HTTP_REFERER": "http://intranet:8050/a"}, False, id="own-referer"),
        pytest.param({"HTTP_REFERER": "http://evil.example/a"}, True, id="other-referer"),
        pytest.param(
            {"HTTP_ORIGIN": "http://intranet:8050", "HTTP_REFERER": "http://evil.example/a"}, False, id="origin-first"
        ),
        pytest.param({"HTTP_ORIGIN": "http://app.corp", "SERVER_PROTOCOL": "HTTP/1.0"}, False, id="nginx-as-it-comes"),
        pytest.param({"HTTP_ORIGIN": "http://app.corp", "HTTP_X_REAL_IP": "10.0.0.7"}, False, id="proxy-that-says-so"),
    ],
)
def test_a_report_of_another_host_is_foreign_unless_a_proxy_may_have_renamed_this_one(
    environ: dict[str, str], foreign: bool
) -> None:
    assert is_foreign({"HTTP_HOST": "intranet:8050", "SERVER_PROTOCOL": "HTTP/1.1", **environ}) is foreign


def test_a_server_without_a_host_header_is_known_by_its_name() -> None:
    environ = {"SERVER_NAME": "intranet", "HTTP_ORIGIN": "http://intranet"}
    assert not is_foreign(environ)
    assert is_foreign({**environ, "HTTP_ORIGIN": "http://evil.example"})

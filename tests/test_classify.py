"""Which requests matter, by method and path alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.classify import (
    BOOT,
    CALLBACK,
    DOCUMENT,
    REPORT,
    REPORT_PATH,
    SCRIPT_PATH,
    Surface,
    classify,
    classify_anywhere,
)

#: What Dash and the page script register below an app's prefix, and what each counts as.
BELOW_PREFIX = [
    pytest.param("GET", "", DOCUMENT, id="index"),
    pytest.param("GET", "orders/7", DOCUMENT, id="page"),
    pytest.param("GET", "assetsmanager", DOCUMENT, id="page-that-begins-like-the-assets"),
    pytest.param("GET", "staticpage", DOCUMENT, id="page-that-begins-like-static"),
    pytest.param("GET", "_private", DOCUMENT, id="page-with-an-underscore"),
    pytest.param("GET", "_dash-layout", BOOT, id="layout"),
    pytest.param("GET", "_dash-dependencies", None, id="dependencies"),
    pytest.param("GET", "_dash-component-suites/dash/deps/react.js", None, id="component-suite"),
    pytest.param("GET", "_dash-update-component", None, id="get-of-the-callback-address"),
    pytest.param("GET", "assets/style.css", None, id="asset"),
    pytest.param("GET", "_favicon.ico", None, id="dash-favicon"),
    pytest.param("GET", "_reload-hash", None, id="hot-reload"),
    pytest.param("GET", "_alive_3f2a", None, id="jupyter"),
    pytest.param("GET", SCRIPT_PATH, None, id="page-script"),
    pytest.param("GET", "favicon.ico", None, id="favicon"),
    pytest.param("GET", "robots.txt", None, id="robots-txt"),
    pytest.param("GET", "apple-touch-icon-120x120.png", None, id="touch-icon"),
    pytest.param("GET", ".well-known/security.txt", None, id="well-known"),
    pytest.param("POST", "_dash-update-component", CALLBACK, id="callback"),
    pytest.param("POST", REPORT_PATH, REPORT, id="report"),
    pytest.param("GET", REPORT_PATH, DOCUMENT, id="get-of-the-report-address"),
    pytest.param("POST", "", None, id="form-post"),
    pytest.param("POST", "_dash-layout", None, id="post-of-the-layout"),
    pytest.param("HEAD", "", None, id="head"),
    pytest.param("OPTIONS", "_dash-update-component", None, id="preflight"),
    pytest.param("PUT", "_dash-update-component", None, id="put"),
]
PREFIXES = ["/", "/base/", "/a/b/"]


def minimal(method: str, path: str) -> dict[str, str]:
    return {"REQUEST_METHOD": method, "PATH_INFO": path}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path", "kind"), BELOW_PREFIX)
def test_a_request_is_told_by_method_and_path_under_any_prefix(
    method: str, path: str, kind: str | None, prefix: str
) -> None:
    assert classify(minimal(method, prefix + path), Surface.of(prefix)) == kind


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/", id="root"),
        pytest.param("/base", id="without-slash-is-a-redirect"),
        pytest.param("/basement/", id="same-letters"),
        pytest.param("/basement/_dash-update-component", id="same-letters-callback"),
        pytest.param("/_dash-update-component", id="callback-of-another-app"),
        pytest.param("/_dash-layout", id="boot-of-another-app"),
        pytest.param("/other/base/", id="deeper"),
        pytest.param("/static/app.js", id="flask-static"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_outside_of_the_prefix_is_not_the_apps(path: str, method: str) -> None:
    assert classify(minimal(method, path), Surface.of("/base/")) is None


def test_flasks_static_files_are_no_pages() -> None:
    assert classify(minimal("GET", "/static/app.js"), Surface.of("/")) is None


@pytest.mark.parametrize(
    ("path", "root", "admin"),
    [
        pytest.param("/_dash-update-component", CALLBACK, None, id="callback-of-the-outer"),
        pytest.param("/admin/_dash-update-component", None, CALLBACK, id="callback-of-the-inner"),
        pytest.param("/_dut/seen", REPORT, None, id="report-of-the-outer"),
        pytest.param("/admin/_dut/seen", None, REPORT, id="report-of-the-inner"),
    ],
)
def test_of_two_nested_apps_each_has_its_own_posts(path: str, root: str | None, admin: str | None) -> None:
    environ = minimal("POST", path)
    assert (classify(environ, Surface.of("/")), classify(environ, Surface.of("/admin/"))) == (root, admin)


def test_of_two_nested_apps_each_has_its_own_boot() -> None:
    inner, outer = minimal("GET", "/admin/_dash-layout"), minimal("GET", "/_dash-layout")
    assert classify(outer, Surface.of("/")) == BOOT
    assert classify(inner, Surface.of("/")) != BOOT
    assert classify(inner, Surface.of("/admin/")) == BOOT
    assert classify(outer, Surface.of("/admin/")) is None


@pytest.mark.parametrize("assets", ["files", "/files", "files/", "/files/"])
def test_the_assets_address_may_be_another_however_it_is_written(assets: str) -> None:
    surface = Surface.of("/base/", assets=assets)
    assert classify(minimal("GET", "/base/files/logo.png"), surface) is None
    assert classify(minimal("GET", "/base/assets/logo.png"), surface) == DOCUMENT


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="empty"),
        pytest.param({"REQUEST_METHOD": "GET"}, id="no-path"),
        pytest.param({"REQUEST_METHOD": "GET", "PATH_INFO": ""}, id="empty-path"),
    ],
)
def test_a_missing_path_is_the_root(environ: dict[str, str]) -> None:
    expected = DOCUMENT if environ else None
    assert classify(environ, Surface.of("/")) == expected
    assert classify_anywhere(environ) == expected


@pytest.mark.parametrize("prefix", ["", "/base", "/a/b"])
@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        pytest.param("GET", "/", DOCUMENT, id="index"),
        pytest.param("GET", "/orders/7", DOCUMENT, id="page"),
        pytest.param("GET", "/report.html", DOCUMENT, id="page-with-a-dot"),
        pytest.param("GET", "/assets/", DOCUMENT, id="page-called-assets"),
        pytest.param("POST", "/_dash-update-component", CALLBACK, id="callback"),
        pytest.param("GET", "/_dash-layout", None, id="layout"),
        pytest.param("GET", "/_dash-dependencies", None, id="dependencies"),
        pytest.param("GET", "/_dash-component-suites/dash/x.js", None, id="component-suite"),
        pytest.param("GET", "/_dut/page.js", None, id="page-script"),
        pytest.param("POST", "/_dut/seen", None, id="report"),
        pytest.param("GET", "/_reload-hash", None, id="hot-reload"),
        pytest.param("GET", "/_favicon.ico", None, id="dash-favicon"),
        pytest.param("GET", "/favicon.ico", None, id="favicon"),
        pytest.param("GET", "/robots.txt", None, id="robots-txt"),
        pytest.param("GET", "/assets/style.css", None, id="asset"),
        pytest.param("GET", "/static/app.js", None, id="static"),
        pytest.param("GET", "/.well-known/security.txt", None, id="well-known"),
        pytest.param("POST", "/orders", None, id="form-post"),
        pytest.param("HEAD", "/", None, id="head"),
        pytest.param("OPTIONS", "/", None, id="options"),
    ],
)
def test_around_an_unknown_app_dashs_names_count_under_any_prefix(
    method: str, path: str, kind: str | None, prefix: str
) -> None:
    assert classify_anywhere(minimal(method, prefix + path)) == kind


_METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "get", ""])
_PATHS = st.text() | st.lists(
    st.sampled_from(["base", "basement", "_dash-layout", "_dash-update-component", "_dut", "seen", "assets", "", "x"])
).map(lambda parts: "/" + "/".join(parts))


@given(_METHODS, _PATHS, st.sampled_from(PREFIXES))
def test_whatever_is_tracked_is_a_get_or_post_below_the_prefix(method: str, path: str, prefix: str) -> None:
    kind = classify(minimal(method, path), Surface.of(prefix))
    if kind is not None:
        assert (path or "/").startswith(prefix)
        assert method == ("POST" if kind in (CALLBACK, REPORT) else "GET")


@given(_METHODS, _PATHS)
def test_a_post_counts_anywhere_only_as_a_callback(method: str, path: str) -> None:
    kind = classify_anywhere(minimal(method, path))
    assert kind in ((None, CALLBACK) if method == "POST" else (None, DOCUMENT) if method == "GET" else (None,))

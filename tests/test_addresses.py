"""Paths have one decoded form inside and one encoded form outside."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.addresses import below, encode_path, is_local, sound_text, split_address, wsgi_text

# Surrogates are left out: no address bar and no decoded environ holds one.
_TEXT = st.text(st.characters(blacklist_categories=["Cs"]))
_ANY_TEXT = st.text(st.characters())  # with lone surrogates, which st.text() leaves out
_PATHS = _TEXT.map(lambda text: "/" + text)
_PREFIXES = st.sampled_from(["/", "/base/", "/base", "/a/b/", "/caf\u00e9/"])


@given(_TEXT)
def test_text_in_an_environ_is_read_back(text: str) -> None:
    assert wsgi_text(text.encode("utf-8").decode("latin-1")) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("/caf\u00c3\u00a9", "/caf\u00e9", id="utf-8-as-latin-1"),
        pytest.param("/caf\u00e9", "/caf\ufffd", id="bytes-that-are-no-utf-8"),
        pytest.param("/\u20ac", "/\u20ac", id="real-text-of-a-fake-environ"),
        pytest.param("/\u20ac\ud800", "/\u20ac\ufffd", id="surrogate-of-a-fake-environ"),
        pytest.param("/%C3%A9", "/%C3%A9", id="percent-is-not-decoded-twice"),
    ],
)
def test_bytes_of_an_environ_are_utf_8(value: str, text: str) -> None:
    assert wsgi_text(value) == text


@given(_ANY_TEXT)
def test_any_text_of_an_environ_can_be_stored(text: str) -> None:
    wsgi_text(text).encode("utf-8")


@given(_ANY_TEXT)
def test_sound_text_can_be_stored_and_is_left_alone(text: str) -> None:
    sound = sound_text(text)
    sound.encode("utf-8")
    assert len(sound) == len(text)
    assert sound_text(sound) == sound


@given(_TEXT)
def test_text_without_surrogates_is_sound_as_it_is(text: str) -> None:
    assert sound_text(text) == text


@given(_PATHS)
def test_an_encoded_path_decodes_to_the_same_path(path: str) -> None:
    assert split_address(encode_path(path)) == (path, "")


@given(_PATHS)
def test_an_encoded_path_is_ascii_and_survives_in_a_url(path: str) -> None:
    encoded = encode_path(path)
    assert encoded.isascii()
    parts = urlsplit("http://app.example" + encoded)
    assert (parts.path, parts.query, parts.fragment) == (encoded, "", "")


@pytest.mark.parametrize(
    ("address", "path", "query"),
    [
        pytest.param("/orders?a=1", "/orders", "a=1", id="query"),
        pytest.param("/orders?a=1?b#c", "/orders", "a=1?b", id="second-question-mark-is-query"),
        pytest.param("/orders#top?x", "/orders", "", id="fragment-goes"),
        pytest.param("/caf%C3%A9%20au%20lait", "/caf\u00e9 au lait", "", id="percent-decoded"),
        pytest.param("/a%3Fb?q=%C3%A9", "/a?b", "q=%C3%A9", id="query-stays-raw"),
        pytest.param("/%FF", "/\ufffd", "", id="bytes-that-are-no-utf-8"),
        pytest.param("/cut%C", "/cut%C", "", id="escape-cut-short"),
        pytest.param("", "", "", id="empty"),
    ],
)
def test_an_address_falls_into_decoded_path_and_raw_query(address: str, path: str, query: str) -> None:
    assert split_address(address) == (path, query)


@pytest.mark.parametrize(
    ("path", "prefix", "relative"),
    [
        pytest.param("/", "/", "/", id="root"),
        pytest.param("/orders", "/", "/orders", id="page-at-the-root"),
        pytest.param("/base/", "/base/", "/", id="index"),
        pytest.param("/base", "/base/", "/", id="index-without-slash"),
        pytest.param("/base/orders/", "/base/", "/orders/", id="trailing-slash-kept"),
        pytest.param("/base/orders", "/base", "/orders", id="prefix-without-slash"),
        pytest.param("/basement", "/base/", None, id="same-letters"),
        pytest.param("/basement/base/", "/base/", None, id="same-letters-deeper"),
        pytest.param("/", "/base/", None, id="above"),
        pytest.param("/orders", "/base/", None, id="beside"),
    ],
)
def test_a_prefix_holds_whole_segments(path: str, prefix: str, relative: str | None) -> None:
    assert below(path, prefix) == relative


@given(_PREFIXES, _PATHS)
def test_below_undoes_what_a_prefix_adds(prefix: str, path: str) -> None:
    assert below(prefix.rstrip("/") + path, prefix) == path


@given(_PREFIXES, _PATHS)
def test_what_is_below_starts_with_a_slash(prefix: str, path: str) -> None:
    relative = below(path, prefix)
    bare = prefix.rstrip("/")
    assert relative is None or (relative.startswith("/") and path in (bare + relative, bare))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8050", "app.localhost:8050", "127.0.0.1", "127.0.0.1:8050", "127.9.9.9", "[::1]:8050", ""],
)
def test_this_machines_names_are_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    ["intranet:8050", "10.0.0.7", "localhost.corp.example", "localhosts", "notlocalhost", "127.example.com", "[::2]"],
)
def test_other_names_are_not_local(host: str) -> None:
    assert not is_local(host)

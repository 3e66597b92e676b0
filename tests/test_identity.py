"""Who a request is from: every shape of session and provider that is about."""

from __future__ import annotations

import collections
import types
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.identity import LIMIT, user_of, user_of_session
from dash_user_tracker.request import User

ANA = User("7", "ana@example.com", "Ana Lima")
UUID = uuid.UUID("0b0a6c2f-6a2c-4f0c-9f39-3d6d0f3c5f7e")


def known(identity: str, email: str = "anonymous", full_name: str = "anonymous") -> User:
    return User(identity, email, full_name)


@pytest.mark.parametrize(
    ("session", "user"),
    [
        pytest.param({}, None, id="empty"),
        pytest.param(
            {"user": {"id": 7, "email": "ana@example.com", "full_name": "Ana Lima"}}, ANA, id="readme-dictionary"
        ),
        pytest.param(
            {"user_id": "7", "user_email": "ana@example.com", "user_full_name": "Ana Lima"}, ANA, id="readme-flat-keys"
        ),
        pytest.param({"user_id": 7}, known("7"), id="flat-id-alone"),
        pytest.param({"user_email": "ana@example.com"}, None, id="flat-email-alone-is-nobody"),
        pytest.param({"user": {"email": "ana", "groups": ["sales"]}}, known("ana", "ana"), id="dash-auth-basic"),
        pytest.param(
            {
                "user": {
                    "sub": "248289761001",
                    "email": "ana@example.com",
                    "name": "Ana Lima",
                    "preferred_username": "ana",
                },
                "idp": "oidc",
            },
            User("248289761001", "ana@example.com", "Ana Lima"),
            id="dash-auth-oidc",
        ),
        pytest.param(
            {"user": {"oid": "a-1", "preferred_username": "ana@example.com", "given_name": "Ana", "family_name": "L"}},
            known("a-1", full_name="Ana L"),
            id="entra-id",
        ),
        pytest.param({"_user_id": "7", "_fresh": True, "_id": "f00"}, known("7"), id="flask-login"),
        pytest.param({"user_id": "1", "_user_id": "2"}, known("1"), id="flat-before-flask-login"),
        pytest.param({"user": {"id": "1"}, "user_id": "2"}, known("1"), id="nested-before-flat"),
        pytest.param({"user": {}, "user_id": "2"}, known("2"), id="empty-nested-then-flat"),
        pytest.param({"user": None, "_user_id": "2"}, known("2"), id="null-nested-then-flask-login"),
        pytest.param({"user": {"groups": []}, "_user_id": "2"}, known("2"), id="nameless-nested-then-flask-login"),
        pytest.param({"user": "ana"}, known("ana"), id="text"),
        pytest.param({"user": 7}, known("7"), id="number"),
        pytest.param({"user": ["ana"]}, None, id="list"),
        pytest.param({"user_id": {"id": 7}}, None, id="container-in-a-flat-key"),
    ],
)
def test_a_session_names_its_user(session: dict[str, Any], user: User | None) -> None:
    assert user_of_session(session) == user


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        pytest.param(None, None, id="none"),
        pytest.param({}, None, id="empty"),
        pytest.param({"full_name": "Ana"}, None, id="a-name-alone-is-nobody"),
        pytest.param({"id": "7"}, known("7"), id="id-alone"),
        pytest.param({"id": None, "email": "ana@example.com"}, known("ana@example.com", "ana@example.com"), id="email"),
        pytest.param({"id": "", "username": "ana"}, known("ana"), id="empty-text-is-no-id"),
        pytest.param({"id": 0}, known("0"), id="zero-is-an-id"),
        pytest.param({"id": True, "username": "ana"}, known("ana"), id="bool-is-no-id"),
        pytest.param({"id": UUID}, known(str(UUID)), id="uuid"),
        pytest.param({"id": "7", "email": None, "full_name": ""}, known("7"), id="nulls-are-anonymous"),
        pytest.param({"id": "7", "email": ["a@b.c"]}, known("7"), id="container-is-no-email"),
        pytest.param({"id": "7", "mail": "a@b.c", "display_name": "Ana"}, User("7", "a@b.c", "Ana"), id="ldap-names"),
        pytest.param({"id": "7", "family_name": "Lima"}, known("7", full_name="Lima"), id="half-a-name"),
        pytest.param(types.MappingProxyType({"id": "7"}), known("7"), id="any-mapping"),
        pytest.param("ana", known("ana"), id="text"),
        pytest.param(7, known("7"), id="number"),
        pytest.param(UUID, known(str(UUID)), id="uuid-itself"),
        pytest.param("", None, id="empty-text"),
        pytest.param(True, None, id="true"),
        pytest.param(False, None, id="false"),
    ],
)
def test_a_providers_answer_names_its_user(claims: object, user: User | None) -> None:
    assert user_of(claims) == user


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(["ana"], id="list"),
        pytest.param(("ana",), id="tuple"),
        pytest.param({"ana"}, id="set"),
        pytest.param(frozenset({"ana"}), id="frozenset"),
        pytest.param(b"ana", id="bytes"),
        pytest.param(bytearray(b"ana"), id="bytearray"),
        pytest.param(collections.deque(["ana"]), id="deque"),
        pytest.param({"ana": 1}.keys(), id="keys"),
        pytest.param([], id="empty-list"),
    ],
)
def test_a_container_is_no_id(container: object) -> None:
    assert user_of(container) is None
    assert user_of({"id": container}) is None
    assert user_of({"id": container, "username": "ana"}) == known("ana")
    assert user_of_session({"user_id": container, "_user_id": "7"}) == known("7")


def test_texts_are_cut_at_the_limit() -> None:
    long = "x" * (LIMIT + 1)
    cut = User(long[:LIMIT], long[:LIMIT], long[:LIMIT])
    assert user_of({"id": long, "email": long, "full_name": long}) == cut
    assert user_of_session({"user_id": long, "user_email": long, "user_full_name": long}) == cut
    assert user_of(10**300) == known(str(10**300)[:LIMIT])


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.lists(st.text())
_CLAIMS = st.dictionaries(
    st.sampled_from(
        ["id", "user_id", "sub", "oid", "email", "username", "name", "full_name", "given_name", "family_name", "user"]
    ),
    _VALUES,
)


@given(_VALUES | _CLAIMS)
def test_whoever_is_named_has_three_texts(claims: object) -> None:
    for user in (user_of(claims), user_of_session({"user": claims}), user_of_session({"user_id": claims})):
        if user is not None:
            assert all(isinstance(text, str) and text for text in (user.id, user.email, user.full_name))
            assert len(user.id) <= LIMIT


class LoggedIn:
    """As Flask-Login's users are."""

    password_hash = "secret"

    def get_id(self) -> str:
        return "u7"

    def __repr__(self) -> str:
        return "LoggedIn(password_hash='secret')"


@pytest.mark.parametrize(
    ("claims", "user_id"),
    [
        pytest.param(LoggedIn(), "u7", id="flask-login"),
        pytest.param(types.SimpleNamespace(id=7, password="secret"), "7", id="object-with-an-id"),
        pytest.param(object(), None, id="object-without"),
        pytest.param(types.SimpleNamespace(id=object()), None, id="object-with-an-odd-id"),
        pytest.param({"id": object()}, None, id="odd-id"),
    ],
)
def test_the_text_of_an_object_is_never_taken_for_an_id(claims: object, user_id: str | None) -> None:
    user = user_of(claims)
    assert (user.id if user else None) == user_id

"""Which events an answer is about."""

from __future__ import annotations

from typing import Any

import attrs


def _is_text_or_none(filters: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"Filters: {attribute.name} must be a text, or None for any, got {value!r}")


def _is_bool_or_none(filters: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"Filters: {attribute.name} must be True, False or None for both, got {value!r}")


def _text() -> Any:
    return attrs.field(default=None, validator=_is_text_or_none)


@attrs.frozen(kw_only=True)
class Filters:
    """Selects events by what they say; those given must all hold, and are compared exactly.

    The default is everybody but automated clients. A field that an event lacks, or that is
    no text or an empty one there, matches no value.

    A filter selects *events*. Visits and interactions are made of all events first: a
    visit counts where one of its activities is selected, an interaction where its first
    run is. So a filter never changes where a visit begins, or how long it is.
    """

    app: str | None = _text()  #: ``app_name``
    page: str | None = _text()  #: the route where the event has one, else the path
    path: str | None = _text()
    route: str | None = _text()
    user: str | None = _text()  #: ``user_id``; ``anonymous`` selects everybody who is not identified
    group: str | None = _text()  #: of the user at that time
    release: str | None = _text()
    environment: str | None = _text()
    browser: str | None = _text()  #: as `browsers.browser_of` names it: ``Firefox``
    automated: bool | None = attrs.field(default=False, validator=_is_bool_or_none)  #: None: both

    def to_params(self) -> dict[str, str]:
        """The filters as query parameters: those given, and ``automated`` (``true``, ``false`` or ``any``)."""
        given = {name: value for name, value in attrs.asdict(self).items() if isinstance(value, str)}
        return {**given, "automated": {True: "true", False: "false", None: "any"}[self.automated]}


#: Every event there is.
EVERYTHING = Filters(automated=None)

"""Rows as events, exactly."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from ...events import Event
from . import schema
from .labels import REMEMBERED, Key
from .rows import BARE, LABELS, REST, RULE, Context, base_url
from .texts import from_column, from_microseconds, id_from_bytes

_KINDS = tuple(LABELS.values())
_numbers = operator.attrgetter(*LABELS)


class Decoder:
    """Makes events of rows."""

    def __init__(self) -> None:
        self._contexts: dict[int, Context] = {}

    def labels_of(self, rows: Sequence[Any]) -> set[Key]:
        """The numbers of the labels in *rows*, for `Labels.read`."""
        found = {(kind, number) for row in rows for kind, number in zip(_KINDS, _numbers(row)) if number is not None}
        found |= {(schema.WHO, row.actor) for row in rows if row.actor is not None and row.actor > 0}
        return found

    def context(self, number: int, values: Mapping[Key, str]) -> Context:
        """The context behind a label."""
        context = self._contexts.get(number)
        if context is None:
            if len(self._contexts) > REMEMBERED:
                self._contexts.clear()
            context = self._contexts[number] = Context.of(values[schema.CONTEXT, number])
        return context

    def event(self, row: Any, values: Mapping[Key, str]) -> Event:
        """The event of a *row* with `COLUMNS`, whose labels are in *values*."""
        context = self.context(row.context, values)
        rest = json.loads(row.rest) if row.rest else {}
        key = bytes(row.id)
        if key[:1] == b"\xfe" and len(key) == 33:
            event_id, rest = rest["id"], rest["rest"]
        else:
            event_id = id_from_bytes(key)
        base_mode, url_mode, full_mode = context.modes

        def text(name: str) -> str | None:
            number = getattr(row, name)
            return None if number is None else values[LABELS[name], number]

        def texts(name: str) -> list[str | None]:
            joined = text(name)
            return [None, None, None] if joined is None else json.loads(joined)

        found = dict(context.values)
        path, root = text("path"), context.values["url_root"]
        query = None if row.query is None else from_column(row.query)
        base = base_url(root, path or "") if base_mode == RULE else rest.get("base_url") if base_mode == REST else None
        found["base_url"] = base
        found["url"] = None if url_mode != RULE else f"{base}?{query}" if query else base
        found["full_path"] = f"{path}?{query}" if full_mode == RULE else path if full_mode == BARE else None
        found["path"] = path
        found["route"] = (path if row.page is None else text("page")) if context.routed else None
        found["user_id"] = values[schema.WHO, row.actor] if row.actor and row.actor > 0 else text("who")
        found["email"], found["full_name"], found["group"] = texts("person")
        found["ip"], found["user_agent"] = texts("client")[:2]
        found["visitor"], found["referrer"], found["trigger"] = text("visitor"), text("referrer"), text("control")
        found["callback"], found["output"] = texts("callback")[:2]
        found["error"] = None if row.error is None else json.loads(values[schema.ERROR, row.error])
        found["page_load"] = None if row.page_load is None else bytes(row.page_load).hex()
        found["duration_ms"] = None if row.duration is None else row.duration / 1000
        found["action"] = row.action
        found["request_bytes"], found["response_bytes"] = row.request_bytes, row.response_bytes
        data = {name: rest.pop(name) if name in rest else found[name] for name in context.keys}
        data.update(rest)
        return Event(id=event_id, event=context.name, timestamp=from_microseconds(row.ts), data=data)

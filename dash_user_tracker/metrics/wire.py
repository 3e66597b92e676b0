"""Answers as JSON documents and back: ``from_wire(kind, to_wire(answer)) == answer``.

A row is an object with the names of its class; datetimes are RFC 3339. Names that are not
known are passed over, so that an older client reads the answers of a newer server.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from ..codec import parse_timestamp
from ..errors import DecodeError
from . import answers
from .tables import Rows

_PLAIN: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "Number": (int, float)}


def to_wire(answer: Any) -> Any:
    """The JSON document of an answer, or of a part of one."""
    if isinstance(answer, datetime):
        return answer.isoformat()
    if isinstance(answer, (tuple, list)):
        return [to_wire(item) for item in answer]
    if isinstance(answer, Mapping):
        return {key: to_wire(value) for key, value in answer.items()}
    if attrs.has(type(answer)):
        return {field.name: to_wire(getattr(answer, field.name)) for field in attrs.fields(type(answer))}
    return answer


def from_wire(kind: str, document: Any) -> Any:
    """The answer in a *document*; `DecodeError` where it is none.

    *kind* is a type as `answers` writes it: ``Rows[Visit]``, ``Timeline | None``.
    """
    if kind.endswith(" | None") and "[" not in kind.rpartition("]")[2]:
        return None if document is None else from_wire(kind[: -len(" | None")], document)
    if kind.startswith("Rows["):
        return _rows(kind[len("Rows[") : -1], document)
    if kind.startswith("tuple["):
        inner = kind[len("tuple[") : -len(", ...]")]
        return tuple(from_wire(inner, item) for item in _checked(document, (list,), kind))
    if kind.startswith("Mapping["):
        inner = kind[len("Mapping[str, ") : -1]
        return {key: from_wire(inner, item) for key, item in _checked(document, (dict,), kind).items()}
    if kind == "datetime":
        return _moment(_checked(document, (str,), kind))
    if kind == "bool":
        return _checked(document, (bool,), kind)
    if kind in _PLAIN:
        if isinstance(document, bool):
            raise DecodeError(f"an answer needs {kind}, got {document!r}")
        return _checked(document, _PLAIN[kind], kind)
    return _row(getattr(answers, kind), document)


def _rows(kind: str, document: Any) -> Rows[Any]:
    table = _checked(document, (dict,), "rows")
    rows = from_wire(f"tuple[{kind}, ...]", table.get("rows"))
    return Rows(rows, total=from_wire("int", table.get("total")), exact=from_wire("bool", table.get("exact")))


def _row(row: type, document: Any) -> Any:
    told = _checked(document, (dict,), row.__name__)
    # The annotations are texts: they are not evaluated, which `str | None` could not be before Python 3.10.
    values = {field.name: from_wire(field.type, told[field.name]) for field in attrs.fields(row) if field.name in told}
    try:
        return row(**values)
    except TypeError as error:
        raise DecodeError(f"an answer is incomplete: {error}") from error


def _moment(text: str) -> datetime:
    try:
        moment = parse_timestamp(text)
    except ValueError as error:
        raise DecodeError(f"an answer needs a timestamp, got {text!r}") from error
    if moment.tzinfo is None:
        raise DecodeError(f"an answer needs a timestamp with an offset, got {text!r}")
    return moment


def _checked(value: Any, types: tuple[type, ...], kind: str) -> Any:
    if not isinstance(value, types):
        raise DecodeError(f"an answer needs {kind}, got {type(value).__name__}")
    return value

"""Answers as plain rows and as data frames."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar, overload

import attrs

T = TypeVar("T", bound="Row")


class Frames:
    """What has `to_dicts` becomes a data frame, where pandas or polars is installed."""

    __slots__ = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dictionary for each row, the same keys in each."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of `to_dicts`, times in UTC; ImportError without pandas."""
        return _library("pandas").DataFrame(_in_utc(self.to_dicts()))

    def to_polars(self) -> Any:
        """A ``polars.DataFrame`` of `to_dicts`, times in UTC; ImportError without polars."""
        return _library("polars").DataFrame(_in_utc(self.to_dicts()), infer_schema_length=None)


class Row:
    """One row of an answer."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The row as a flat dictionary."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}  # type: ignore[arg-type]  # subclasses are attrs


@attrs.frozen
class Rows(Frames, Sequence[T], Generic[T]):
    """The rows of an answer, in a stated order: a sequence.

    *total* is how many there are in all, whatever a limit left out. *exact* is false where
    a number in them is an estimate: percentiles within 4 %, everything else never is.
    """

    rows: tuple[T, ...]
    total: int = attrs.field(default=attrs.Factory(lambda self: len(self.rows), takes_self=True))
    exact: bool = True

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        return [row.to_dict() for row in self.rows]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'to_{name}() needs {name}: pip install "dash-user-tracker[{name}]"') from error


def _in_utc(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # A column of a data frame has one time zone, and local times of a year have two offsets.
    return [
        {key: value.astimezone(timezone.utc) if isinstance(value, datetime) else value for key, value in row.items()}
        for row in rows
    ]

"""The dictionary of a store: text to number and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from .driver import driver_insert, driver_rows
from .schema import label
from .texts import digest_of, from_column, to_column

#: Texts and numbers that a process remembers; beyond it, all are forgotten and looked up again.
REMEMBERED = 100_000

#: Values in one ``IN (...)``; SQLite before 3.32 takes 999.
CHUNK = 500

#: Kind and number of a label.
Key = tuple[int, int]


class Labels:
    """Numbers of texts, as far as this process knows them. Not thread-safe for writing; see `Connections`.

    A number found inside a transaction may be rolled back with it: `commit` or `rollback`
    ends what `resolve` began.
    """

    def __init__(self) -> None:
        self.numbers: dict[tuple[int, str], int] = {}
        self.values: dict[Key, str] = {}
        self._fresh: dict[tuple[int, str], int] = {}
        self._dependents: list[dict[Any, Any]] = []

    def dependent(self) -> dict[Any, Any]:
        """A dictionary for what holds numbers: it is emptied when some of them may never have been."""
        self._dependents.append({})
        return self._dependents[-1]

    def resolve(self, connection: sa.Connection, wanted: Iterable[tuple[int, str]]) -> None:
        """Give a number to each of *wanted* (kind, text), under the writer's lock."""
        digests = {key: digest_of(*key) for key in wanted}
        found = self._find(connection, digests)
        missing = sorted(digests.keys() - found.keys())
        if missing:
            kinds = sorted({kind for kind, _ in missing})
            # One by one: of several kinds at once engines would read all labels there are.
            lasts = ", ".join(f"(SELECT max(id) FROM dut_label WHERE kind = {kind})" for kind in kinds)
            last = {kind: number or 0 for kind, number in zip(kinds, driver_rows(connection, f"SELECT {lasts}")[0])}
            rows = []
            for kind, value in missing:
                number = found[kind, value] = last[kind] = last[kind] + 1
                rows.append((kind, number, digests[kind, value], to_column(value)))
            connection.exec_driver_sql(driver_insert(connection.dialect, label), rows)
        self._fresh.update(found)
        if len(self.numbers) > REMEMBERED:
            self.numbers.clear()
        self.numbers.update(found)

    def commit(self) -> None:
        """What was resolved holds."""
        self._fresh.clear()

    def rollback(self) -> None:
        """What was resolved may never have been."""
        for key in self._fresh:
            self.numbers.pop(key, None)
        if self._fresh:
            for dependent in self._dependents:
                dependent.clear()
        self._fresh.clear()

    def look_up(self, connection: sa.Connection, wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """The numbers of those of *wanted* that have one."""
        return self._find(connection, {key: digest_of(*key) for key in wanted})

    @staticmethod
    def _find(connection: sa.Connection, digests: Mapping[tuple[int, str], int]) -> dict[tuple[int, str], int]:
        found = {}
        for chunk in _chunks(set(digests.values())):
            listed = ", ".join(map(str, chunk))
            statement = f"SELECT id, kind, value FROM dut_label WHERE digest IN ({listed})"
            for number, kind, value in driver_rows(connection, statement):
                key = (kind, from_column(value))
                if key in digests:  # else another text with this digest
                    found[key] = number
        return found

    def read(self, connection: sa.Connection, numbers: Iterable[Key]) -> dict[Key, str]:
        """The texts of *numbers*, each with its kind, and perhaps of others."""
        wanted = set(numbers)
        values = self.values  # another thread may begin a new one
        missing = {key for key in wanted if key not in values}  # `-` would go through all that is remembered
        if not missing:
            return values
        if len(values) + len(missing) > REMEMBERED:
            values = self.values = {}
            missing = wanted
        by_kind: dict[int, list[int]] = {}
        for kind, number in missing:
            by_kind.setdefault(kind, []).append(number)
        for kind, own in by_kind.items():
            for chunk in _chunks(own):
                query = sa.select(label.c.id, label.c.value).where(label.c.kind == kind, label.c.id.in_(chunk))
                for number, value in connection.execute(query):
                    values[kind, number] = from_column(value)
        return values


def _chunks(values: Iterable[int]) -> Iterable[Sequence[int]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk

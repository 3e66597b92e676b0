"""Columns, histograms and sets of the SQL store: what is packed comes back, what is added up is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.repositories.sql import sections
from dash_user_tracker.repositories.sql.histogram import BUCKETS, bucket_at, buckets_of, edges_of, quantile
from dash_user_tracker.repositories.sql.packing import pack, unpack
from dash_user_tracker.repositories.sql.rankings import sums_by
from dash_user_tracker.repositories.sql.sections import (
    PAGE_PEOPLE,
    PAGES,
    RUNS,
    USERS,
    Cells,
    Section,
    count_distinct,
    pack_cells,
    pairs_of,
    united,
    unpack_cells,
)

WHOLE = st.integers(-(1 << 63), (1 << 63) - 1)
NUMBERS = st.one_of(st.integers(0, 300), st.integers(-70_000, 70_000), WHOLE)


def column(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@given(st.lists(st.lists(st.lists(NUMBERS, max_size=20), max_size=4), min_size=1, max_size=3))
def test_columns_come_back_from_each_group(groups: list[list[list[int]]]) -> None:
    packed = pack([[column(values) for values in group] for group in groups])
    for number, group in enumerate(groups):
        assert [found.tolist() for found in unpack(packed, number)] == group


@pytest.mark.parametrize(("most", "size"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4), (2**32, 8)])
def test_a_column_takes_as_few_bytes_as_its_largest_number_needs(most: int, size: int) -> None:
    assert unpack(pack([[column([0, most])]]))[0].itemsize == size


@given(st.lists(st.integers(0, 10**13), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_4_percent_of_the_nearest_rank(durations: list[int], share: float) -> None:
    buckets, counts = np.unique(buckets_of(column(durations)), return_counts=True)
    exact = sorted(durations)[max(math.ceil(share * len(durations)), 1) - 1]
    assert quantile(buckets, counts, share) == pytest.approx(exact, rel=0.04)


@given(st.integers(0, 1 << 60))
def test_a_duration_is_between_the_edges_of_its_bucket(microseconds: int) -> None:
    bucket = int(buckets_of(column([microseconds]))[0])
    low, high = edges_of(bucket)
    assert low <= microseconds <= high
    assert bucket < BUCKETS - 1


def test_a_rank_is_found_in_its_bucket() -> None:
    assert [bucket_at(column([3, 7]), column([2, 3]), rank) for rank in range(1, 6)] == [
        (3, 1), (3, 2), (7, 1), (7, 2), (7, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("flags", [1, 7, 1 << 22])
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50))))
def test_members_of_groups_are_counted_once_however_many_flags_fit(flags: int, pairs: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "_FLAGS", flags)
        found = count_distinct(column([group for group, _ in pairs]), column([member for _, member in pairs]), 10)
    assert found.tolist() == [len({member for own, member in pairs if own == group}) for group in range(10)]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-(1 << 50), 1 << 50))))
def test_sums_are_exact(pairs: list[tuple[int, int]]) -> None:
    keys, values = column([key for key, _ in pairs]), column([value for _, value in pairs])
    assert sums_by(keys, values, 5).tolist() == [sum(value for own, value in pairs if own == key) for key in range(5)]


def cells(section: Section, rows: list[tuple[int, ...]]) -> Cells:
    if section.is_sets:
        keys = pairs_of(column([row[0] for row in rows]), column([row[1] for row in rows]))
        return Cells(keys, np.zeros((len(rows), 0), np.int64))
    width = section.sums + section.lasts
    return Cells(column([row[0] for row in rows]), np.array([row[1:] for row in rows], np.int64).reshape(-1, width))


ROWS = {
    PAGES: st.tuples(st.integers(0, 9), st.integers(-3, 3), st.integers(-3, 3), st.integers(-(10**15), 10**15)),
    USERS: st.tuples(*[st.integers(0, 9)] * 5, st.integers(-(10**15), 10**15)),
    RUNS: st.tuples(st.integers(0, 9), st.integers(-3, 3)),
    PAGE_PEOPLE: st.tuples(st.integers(0, 1 << 30), st.integers(0, (1 << 32) - 1)),
}


@pytest.mark.parametrize("section", ROWS, ids=lambda section: str(section.number))
@given(data=st.data())
def test_parts_become_one_whatever_their_order_and_come_back_from_bytes(section: Section, data: st.DataObject) -> None:
    parts = [cells(section, rows) for rows in data.draw(st.lists(st.lists(ROWS[section]), min_size=1, max_size=4))]
    whole = united(section, parts)
    assert sections.same_cells(whole, united(section, [united(section, parts[1:] + parts[:1])]))
    assert sections.same_cells(whole, unpack_cells(section, pack_cells(section, whole)))
    assert (np.diff(whole.keys) > 0).all()
    assert whole.numbers[:, : section.sums].any(axis=1).all() or section.is_sets

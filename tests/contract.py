"""What every repository that stores and reads keeps; `test_repositories.py` runs it for each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from dash_user_tracker.events import CALLBACK, PAGE_VIEW, Event
from dash_user_tracker.repositories.base import TrackerRepository

T0 = datetime(2025, 1, 30, 20, 29, 28, 543062, tzinfo=timezone.utc)


def view(path: str | None = "/", user_id: str | None = "anonymous", *, at: float = 0.0, **data: object) -> Event:
    """A page view *at* seconds after T0."""
    page = {"path": path, "user_id": user_id, **data}
    return Event.new(PAGE_VIEW, page, timestamp=T0 + timedelta(seconds=at))


def paths(answer: dict[str, object]) -> list[object]:
    return [row["path"] for row in answer["data"]]


class RepositoryContract:
    """A subclass gives the fixture *repository*, empty."""

    @pytest.fixture
    def repository(self) -> Iterator[TrackerRepository]:
        raise NotImplementedError

    def test_an_empty_store_answers_zero_to_everything(self, repository: TrackerRepository) -> None:
        empty = {"count": 0, "data": []}
        assert repository.get_page_views() == empty
        assert repository.get_page_views_by_user("ada") == empty
        assert repository.get_page_views_by_path("/") == empty
        assert repository.get_user_count() == 0
        assert repository.get_user_count_by_path("/") == 0
        assert repository.get_page_count() == 0
        assert repository.get_page_count_by_user("ada") == 0

    def test_a_row_is_the_events_data_and_its_timestamp(self, repository: TrackerRepository) -> None:
        event = view(
            "/orders/ä?", "ada", route="/orders/<id>", automated=False, extra={"deep": [1, None, "é\U0001f600"]}
        )
        repository.save_event(event)
        expected = {**event.data, "timestamp": "2025-01-30T20:29:28.543062+00:00"}
        assert repository.get_page_views() == {"count": 1, "data": [expected]}

    def test_rows_are_newest_first_whatever_order_they_came_in(self, repository: TrackerRepository) -> None:
        repository.save_events([view("/b", at=2), view("/a", at=3), view("/c", at=1)])
        assert paths(repository.get_page_views()) == ["/a", "/b", "/c"]

    def test_of_equal_timestamps_the_later_arrival_is_first(self, repository: TrackerRepository) -> None:
        repository.save_events([view("/1"), view("/2")])
        repository.save_event(view("/3"))
        assert paths(repository.get_page_views()) == ["/3", "/2", "/1"]

    def test_a_limit_cuts_the_rows_and_not_the_count(self, repository: TrackerRepository) -> None:
        repository.save_events([view(f"/{n}", at=n) for n in range(5)])
        answer = repository.get_page_views(limit=2)
        assert answer["count"] == 5
        assert paths(answer) == ["/4", "/3"]
        assert repository.get_page_views(limit=0) == {"count": 5, "data": []}

    def test_rows_are_limited_to_a_thousand_unless_asked(self, repository: TrackerRepository) -> None:
        repository.save_events([view() for _ in range(1001)])
        assert len(repository.get_page_views()["data"]) == 1000
        assert len(repository.get_page_views(limit=1001)["data"]) == 1001

    def test_a_range_is_half_open(self, repository: TrackerRepository) -> None:
        repository.save_events([view(f"/{n}", f"u{n}", at=n) for n in range(4)])
        start, end = T0 + timedelta(seconds=1), T0 + timedelta(seconds=3)
        assert paths(repository.get_page_views(start, end)) == ["/2", "/1"]
        assert repository.get_user_count(start, end) == 2
        assert repository.get_page_count(start, end) == 2
        assert repository.get_page_views(start=start)["count"] == 3
        assert repository.get_page_views(end=end)["count"] == 3
        assert repository.get_page_views(start, start)["count"] == 0

    def test_a_bound_in_another_time_zone_means_the_same_moment(self, repository: TrackerRepository) -> None:
        repository.save_events([view(at=0), view(at=1)])
        start = (T0 + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-5)))
        assert repository.get_page_views(start=start)["count"] == 1

    def test_bounds_count_to_the_microsecond(self, repository: TrackerRepository) -> None:
        repository.save_event(view())
        assert repository.get_page_views(start=T0)["count"] == 1
        assert repository.get_page_views(start=T0 + timedelta(microseconds=1))["count"] == 0
        assert repository.get_page_views(end=T0)["count"] == 0

    def test_a_naive_bound_is_refused(self, repository: TrackerRepository) -> None:
        with pytest.raises(ValueError, match="start must be an aware datetime"):
            repository.get_page_views(start=datetime(2025, 1, 1))

    def test_a_range_that_runs_backwards_is_refused(self, repository: TrackerRepository) -> None:
        with pytest.raises(ValueError, match="end must not be before start"):
            repository.get_user_count(T0, T0 - timedelta(seconds=1))

    def test_a_negative_limit_is_refused(self, repository: TrackerRepository) -> None:
        with pytest.raises(ValueError, match="limit must be at least 0"):
            repository.get_page_views(limit=-1)

    def test_rows_and_counts_of_one_user(self, repository: TrackerRepository) -> None:
        repository.save_events([view("/a", "ada"), view("/b", "ada"), view("/a", "ada"), view("/c", "bob")])
        assert repository.get_page_views_by_user("ada")["count"] == 3
        assert repository.get_page_views_by_user("ada", limit=1)["data"][0]["path"] == "/a"
        assert repository.get_page_count_by_user("ada") == 2
        assert repository.get_page_count_by_user("nobody") == 0

    def test_rows_and_counts_of_one_path(self, repository: TrackerRepository) -> None:
        repository.save_events([view("/a", "ada"), view("/a", "bob"), view("/a", "ada"), view("/b", "eve")])
        assert repository.get_page_views_by_path("/a")["count"] == 3
        assert repository.get_user_count_by_path("/a") == 2
        assert repository.get_user_count_by_path("/A") == 0

    @pytest.mark.parametrize(
        "odd",
        [
            "a/b",
            "a%2Fb",
            "50%",
            "a b",
            "a+b",
            "ä\U0001f600",
            "?x=1&y=2#z",
            "'; DROP TABLE event; --",
            "../..",
            "a\x00b",
        ],
    )
    def test_users_and_paths_are_taken_literally(self, repository: TrackerRepository, odd: str) -> None:
        repository.save_events([view(odd, odd), view("/other", "other")])
        assert paths(repository.get_page_views_by_user(odd)) == [odd]
        assert paths(repository.get_page_views_by_path(odd)) == [odd]
        assert repository.get_page_count_by_user(odd) == 1
        assert repository.get_user_count_by_path(odd) == 1

    def test_anonymous_is_one_user(self, repository: TrackerRepository) -> None:
        repository.save_events([view(), view(), view("/", "ada")])
        assert repository.get_user_count() == 2

    def test_null_is_neither_a_user_nor_a_path(self, repository: TrackerRepository) -> None:
        repository.save_events([view(None, None), view("/", "ada")])
        assert repository.get_page_views()["count"] == 2
        assert repository.get_user_count() == 1
        assert repository.get_page_count() == 1

    def test_only_page_views_are_page_views(self, repository: TrackerRepository) -> None:
        page = {"path": "/callback", "user_id": "ada"}
        repository.save_events([Event.new(CALLBACK, page), Event.new("export", page), view("/", "bob")])
        assert repository.get_page_views()["count"] == 1
        assert repository.get_page_views_by_user("ada")["count"] == 0
        assert repository.get_user_count() == 1
        assert repository.get_page_count() == 1

    def test_automated_views_count_unless_asked(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [view("/a", "robot", automated=True), view("/b", "ada", automated=False), view("/c", "bob")]
        )
        assert repository.get_page_views()["count"] == 3
        assert paths(repository.get_page_views(automated=True)) == ["/a"]
        assert paths(repository.get_page_views(automated=False)) == ["/c", "/b"]
        assert repository.get_page_views_by_user("robot", automated=False)["count"] == 0
        assert repository.get_page_views_by_path("/a", automated=True)["count"] == 1
        assert repository.get_user_count(automated=False) == 2
        assert repository.get_user_count_by_path("/a", automated=False) == 0
        assert repository.get_page_count(automated=True) == 1
        assert repository.get_page_count_by_user("robot", automated=True) == 1

    def test_an_event_that_comes_again_counts_once(self, repository: TrackerRepository) -> None:
        first, second = view("/1"), view("/2")
        repository.save_event(first)
        repository.save_events([first, second, second])
        repository.save_events([first, second])
        assert paths(repository.get_page_views()) == ["/2", "/1"]

    def test_no_events_are_nothing_to_do(self, repository: TrackerRepository) -> None:
        repository.save_events([])
        assert repository.get_page_views()["count"] == 0

    def test_apps_share_a_store(self, repository: TrackerRepository) -> None:
        repository.save_events([view("/", "ada", app_name="Sales"), view("/", "ada", app_name="Stock")])
        answer = repository.get_page_views()
        assert {row["app_name"] for row in answer["data"]} == {"Sales", "Stock"}

    def test_threads_may_write_and_read_at_once(self, repository: TrackerRepository) -> None:
        failures = []

        def work(number: int) -> None:
            try:
                for n in range(5):
                    repository.save_events([view(f"/{number}/{n}/{m}", f"u{number}") for m in range(4)])
                    repository.get_page_views(limit=3)
            except Exception as error:  # noqa: BLE001 - asserted below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert repository.get_page_count() == 80
        assert repository.get_user_count() == 4

    def test_close_may_be_called_twice(self, repository: TrackerRepository) -> None:
        repository.save_event(view())
        repository.close()
        repository.close()

    def test_works_again_after_close(self, repository: TrackerRepository) -> None:
        repository.close()
        repository.save_event(view())
        assert repository.get_page_views()["count"] == 1


class EventsContract:
    """`get_events`, for those that have it."""

    def test_events_of_every_kind_come_back_whole_and_newest_first(self, repository: TrackerRepository) -> None:
        page, run, custom = view(at=1, properties={"n": 1.5}), Event.new(CALLBACK, {}, timestamp=T0), Event.new("x", {})
        repository.save_events([page, run, custom])
        assert repository.get_events() == [custom, page, run]

    def test_events_can_be_asked_for_by_kind_range_and_limit(self, repository: TrackerRepository) -> None:
        views = [view(f"/{n}", at=n) for n in range(4)]
        run = Event.new(CALLBACK, {}, timestamp=T0)
        repository.save_events([*views, run])
        assert repository.get_events(event=CALLBACK) == [run]
        assert repository.get_events(limit=2) == [views[3], views[2]]
        assert len(repository.get_events(limit=None)) == 5
        assert repository.get_events(T0 + timedelta(seconds=1), T0 + timedelta(seconds=3)) == [views[2], views[1]]
        assert repository.get_events(T0 + timedelta(seconds=9)) == []

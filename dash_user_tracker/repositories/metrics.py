"""The questions every repository that can read answers, and what each answer means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Union

from ..errors import NotReadableError
from ..events import Event
from ..metrics import (
    breakdowns,
    callback_stats,
    coverage,
    error_groups,
    funnels,
    journeys,
    measures,
    presence,
    visit_rows,
)
from ..metrics.answers import (
    ActiveUsers,
    Adoption,
    BreakdownRow,
    CallbackStats,
    ErrorRow,
    FunnelRow,
    JourneyRow,
    LifecycleRow,
    RetentionRow,
    SeriesPoint,
    Summary,
    Timeline,
    UnusedRow,
    Visit,
)
from ..metrics.arguments import MemberLike, Registry, Step
from ..metrics.checks import check_moment, check_person, check_range
from ..metrics.filters import Filters
from ..metrics.history import History
from ..metrics.records import is_selected, records_of
from ..metrics.tables import Rows

#: ``"previous"``, or a range of its own.
Compare = Union[str, tuple[datetime, datetime], None]

#: Events of a list unless asked otherwise.
DEFAULT_LIMIT = 1000
#: Rows of an answer unless asked otherwise.
DEFAULT_ROWS = 100


class MetricsReader:
    """The metrics of a store.

    They are computed here from all events that `get_events` returns: simple, and what every
    other way to compute them is measured by. A repository that holds many events answers
    them from its own tables, with the same numbers.

    The same for every method:

    * *start* and *end* are aware datetimes, half open (``start <= timestamp < end``), None
      for no bound. *tz* is an IANA name; days begin at its local midnight and have 23 to 25
      hours, weeks begin on Monday.
    * *filters* None is ``Filters()``: everybody but automated clients.
    * Events are in the order of their timestamps; those of one timestamp in order of arrival.
    * Only text counts as a name: what is missing, null, empty or no text is None.
    * *limit* cuts the rows (None: all), `Rows.total` says how many there are. Rows come
      highest first, then by name, None last.
    * ValueError for an argument that cannot be; `NotReadableError` where the store cannot read.

    The words:

    *Person*: a ``user_id`` other than ``anonymous``. *Visitor*: a ``visitor`` of somebody
    without one. Events with neither come from nobody that can be told apart: they count in
    every number but people and visitors, and make visits together, as if they were one.

    *Activity*: a page view, a callback run with ``cause`` ``user``, or a custom event, if it
    has a ``path``: one made outside of a request is nobody's.

    *Visit*: the activities of one person, visitor or nobody in one app, automated clients
    apart, without a gap of more than 30 minutes, and within 24 hours of the first one. It
    is not split at midnight. It counts in the range and in the period that it begins in,
    if filters select one of its activities within the range.

    *Bounce*: a visit of exactly one page view, no user interaction and no custom event but
    with ``interactive=False`` among its properties.

    *Interaction*: activities that are runs and share ``page_load`` (a text) and ``action`` (a
    number); where one of those is missing, runs of the same person, visitor or nobody in
    the same app, on the same path, with the same trigger, each within 250 ms of the one
    before. It has the time, and everything else, of its first run.

    *Page*: the ``route`` where there is one, else the ``path``.

    *Callback*: its label, else its output. *Error*: a run with ``outcome`` ``error``.

    *Latency*: ``duration_ms`` of runs, where it is a number of at least 0. A percentile is
    the smallest value that at least this share of the values do not exceed (nearest rank).
    """

    def get_events(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        event: str | None = None,
    ) -> list[Event]:
        """Events of every kind, or only of the kind *event* (``page_view``), newest first, at most *limit*.

        Of two events with the same timestamp the one that arrived later comes first.
        """
        raise self._cannot_read()

    # -- numbers -----------------------------------------------------------------

    def get_summary(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        compare: Compare = None,
        filters: Filters | None = None,
    ) -> Summary:
        """A period in numbers.

        *compare* ``"previous"`` adds the same for the period of the same length that ends
        at *start* (which needs both bounds), a pair of datetimes for that range.
        """
        return measures.summary(self._history(), start, end, compare, filters or Filters())

    def get_series(
        self,
        metric: str,
        interval: str,
        start: datetime,
        end: datetime,
        *,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[SeriesPoint]:
        """One of `words.METRICS` for each *interval* that the range touches, oldest first.

        *interval* is ``hour``, ``day``, ``week`` or ``month``. Empty periods are there, with 0,
        or None where the metric then has no value. The first and the last may be *partial*:
        only what lies in the range counts. An hour is one of the local clock: in a zone half
        an hour off it begins at half past UTC's, and the one that a change of clocks repeats
        is there twice.
        ValueError for more than 10,000 periods.
        """
        return measures.series(self._history(), metric, interval, start, end, tz, filters or Filters())

    def get_breakdown(
        self,
        dimension: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        metrics: Sequence[str] | None = None,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[BreakdownRow]:
        """The metrics of each key of a dimension, the highest of the first metric first, then by key.

        *dimension* is one of `words.DIMENSIONS`, *metrics* of those that it has there;
        None: `words.DEFAULT_METRICS`. A key is there if an event (for ``referrer``,
        ``entry_page`` and ``exit_page``: a visit) in the range has it; None is a key, too.

        ``app``, ``page``, ``path``, ``user``, ``group``, ``browser``, ``release``,
            ``environment``: keys of every event. A row says what `get_summary` says with
            this key as one more filter. ``user`` is ``anonymous`` for everybody without one.
            A page also has ``entries`` and ``exits`` (visits that begin in the range, with
            an activity selected, whose first, last viewed page it is), ``bounces`` (such
            entries that bounced), ``exit_rate`` (exits / views) and ``time_s``: the seconds
            between its activities and the next one of the same visit, None where none
            followed, not 0.
        ``referrer``, ``entry_page``, ``exit_page``: keys of visits that begin in the range.
            A referrer is the host of another site that the first page view came from, None
            where there was none. People and visitors are those of these visits.
        ``callback``: runs. ``control``: the trigger (``id.property``) of interactions.
        ``event``: custom events, also those outside of a request.
            People and visitors are those of these events.
        """
        return breakdowns.breakdown(self._history(), dimension, start, end, metrics, filters or Filters(), limit)

    def get_active_users(
        self, end: datetime | None = None, *, tz: str = "UTC", filters: Filters | None = None
    ) -> ActiveUsers:
        """People with an activity before *end* (None: now): in 5 minutes, and on 1, 7 and 28 local days.

        The last of these days is the one that holds the moment before *end*, as far as it
        has come: give a midnight for whole days. Stickiness is the mean of people a day
        over the 28 days / people in them, None without any.
        """
        return presence.active_users(self._history(), end, tz, filters or Filters())

    # -- visits ------------------------------------------------------------------

    def get_visits(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[Visit]:
        """Visits that begin in the range, the latest first, then by id; each whole, also beyond *end*."""
        return visit_rows.visit_rows(self._history(), start, end, filters or Filters(), limit)

    def get_visit(self, visit_id: str) -> Timeline | None:
        """One visit with all its events, None where there is none of this id.

        Its events are those of the same person, visitor or nobody in the same app, from
        its first activity until 30 minutes after its last, or until their next visit.
        """
        return visit_rows.timeline(self._history(), visit_id)

    def get_journeys(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        start_page: str | None = None,
        depth: int = 4,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[JourneyRow]:
        """The sequences of pages that visits begin with, most frequent first, then by pages.

        Of visits that begin in the range: the pages of its views, the same one in a row
        once, from the first view of *start_page* on (None: from the first view), cut to
        *depth* (1 to 8). Visits without such a view are left out.
        """
        return journeys.journeys(self._history(), start, end, start_page, depth, filters or Filters(), limit)

    # -- people over time --------------------------------------------------------

    def get_retention(
        self,
        unit: str = "week",
        periods: int = 8,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[RetentionRow]:
        """Of the people first seen in each of the last *periods* days, weeks or months, who came again when.

        The last period is the one that holds the moment before *end* (None: now). First
        seen is the first activity of all that filters select. The n-th number of a row is
        how many had an activity in the n-th period after it. Periods that are not over at
        *end* are None. Only people: a visitor is another one the next day.
        """
        return presence.retention(self._history(), unit, periods, end, tz, filters or Filters())

    def get_lifecycle(
        self,
        unit: str = "week",
        periods: int = 12,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[LifecycleRow]:
        """New, returning, resurrected and dormant people of the last *periods*, oldest first.

        By activity, as in `get_retention`. The last period holds the moment before *end*
        (None: now); what comes after *end* does not count.
        """
        return presence.lifecycle(self._history(), unit, periods, end, tz, filters or Filters())

    def get_funnel(
        self,
        steps: Sequence[Step | str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        within: timedelta | None = None,
        filters: Filters | None = None,
    ) -> Rows[FunnelRow]:
        """People and visitors who took the first step, the first two in this order, and so on.

        Steps are `Step` or text: ``page:/orders`` (a view of this route or path),
        ``control:region.value`` (a run that a user triggered there), ``event:export``.
        Somebody reaches a step if there is any series of events for it and those before it,
        each later than the one before in the order of events, all in the range, the last
        at most *within* after the first (None: no limit). Other events may lie between.
        Nobodies are left out. *share* is of people and visitors together.
        """
        return funnels.funnel(self._history(), steps, start, end, within, filters or Filters())

    # -- callbacks ---------------------------------------------------------------

    def get_callback_stats(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        sort: str = "waiting_ms",
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[CallbackStats]:
        """Each callback's runs, latency, errors and bytes, the longest total waiting time first, then by name.

        *sort* is a number of `CallbackStats`, highest first, None last. Waiting time is the
        latency of all runs together, but for the causes ``timer`` and ``poll``.
        """
        return callback_stats.callback_stats(self._history(), start, end, sort, filters or Filters(), limit)

    def get_errors(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[ErrorRow]:
        """Failed runs by type and place, the most frequent first, then by type and place.

        The type is that of the exception, for a failure without one ``HTTP 500`` (its
        status); the place is where it was raised, else the callback. *first* is the
        earliest that filters select before *end*, also before *start*.
        """
        return error_groups.error_groups(self._history(), start, end, filters or Filters(), limit)

    # -- against what could be ---------------------------------------------------

    def get_unused(
        self,
        registry: Registry,
        days: int = 60,
        *,
        end: datetime | None = None,
        filters: Filters | None = None,
    ) -> Rows[UnusedRow]:
        """Pages, callbacks and controls of *registry* not used in the *days* (of 24 hours) before *end* (None: now).

        A page is used by a view of this route or path, a callback by a run, a control by a
        run with this trigger and ``cause`` ``user``. Pages, then callbacks, then controls;
        each the longest unused first, those never used before all others, then by name.
        """
        return coverage.unused(self._history(), registry, days, end, filters or Filters())

    def get_adoption(
        self,
        roster: Iterable[MemberLike],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
    ) -> Adoption:
        """Of the people on *roster*, how many had an activity in the range, and who never had one before *end*.

        Groups are those of the roster, by name, None last.
        """
        return coverage.adoption(self._history(), roster, start, end, filters or Filters())

    # -- data out ----------------------------------------------------------------

    def export(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        event: str | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Event]:
        """The events, oldest first, one by one; only those of the kind *event* where that is given.

        Without *filters* all of them, automated clients too: unlike the metrics, an export
        leaves nothing out unasked. Arguments are checked at the call, not at the first event.
        Several threads may take turns with the iterator.
        """
        check_range(start, end)
        events = self.get_events(start, end, None, event=event)[::-1]
        if filters is None:
            return iter(events)
        return (record.event for record in records_of(events) if is_selected(record, filters))

    def export_user(self, user_id: str) -> Iterator[Event]:
        """All events with this ``user_id``, oldest first."""
        check_person(user_id)
        return (event for event in self.get_events(limit=None)[::-1] if event.data.get("user_id") == user_id)

    def erase_user(self, user_id: str) -> int:
        """Delete all events with this ``user_id``, for good; how many there were.

        ValueError for ``anonymous``, who is nobody. What the person did without a log-in is
        under a ``visitor`` and stays.
        """
        raise self._cannot_delete()

    def purge(self, before: datetime) -> int:
        """Delete all events with a timestamp before *before*, for good; how many there were."""
        raise self._cannot_delete()

    def _history(self) -> History:
        return History.of(self.get_events(limit=None)[::-1])

    def _cannot_delete(self) -> NotReadableError:
        return NotReadableError(
            f"{type(self).__name__} cannot delete events; delete them where they are stored, or write erase_user and "
            "purge in your repository"
        )

    def _cannot_read(self) -> NotReadableError:
        return NotReadableError(
            f"{type(self).__name__} stores events but cannot read them back; write the reading methods of "
            "TrackerRepository, or read from another one: "
            "TrackerAnalytics(repository=SqlTrackerRepository('sqlite:///usage.db'))"
        )


class _Nothing(MetricsReader):
    """A store without events: it has no answers, but checks what it is asked."""

    def get_events(self, *_: object, **__: object) -> list[Event]:
        return []

    def erase_user(self, user_id: str) -> int:
        check_person(user_id)
        return 0

    def purge(self, before: datetime) -> int:
        check_moment("before", before)
        return 0


def check_question(method: str, arguments: Mapping[str, Any]) -> None:
    """ValueError where *method* cannot be asked with these *arguments*.

    For repositories that answer elsewhere than here: the checks are those of the reference.
    """
    getattr(_Nothing(), method)(**arguments)

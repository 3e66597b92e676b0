"""What one observed request counts as: no event, one, or several."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Union

import attrs

from .addresses import below, split_address, wsgi_text
from .callbacks import NOISE, Callback, IgnoredCallbacks, cause_of, trigger_of
from .classify import CALLBACK, DOCUMENT, REPORT, ROUTE
from .codec import EventOrLine, written_measures, written_moment
from .documents import is_prefetch, left_to_script
from .events import ANONYMOUS, PAGE_KEYS, PAGE_VIEW, Event, new_ids
from .events import CALLBACK as CALLBACK_EVENT
from .explain import Journal
from .facts import DashFacts
from .hints import Hints
from .marks import INTERNAL, LOAD, Mark, mark_of
from .navigation import callback_request, is_poll, navigated_path, referred_path
from .page_data import KEPT, Page, PageData
from .policy import Policy
from .request import MARK, RARE, RECEIVED, CallbackRequest, CustomEvent, Observation, observation_of
from .routes import IgnoredRoutes
from .runs import (
    ABANDONED,
    CANCELLED,
    ERROR,
    NO_UPDATE,
    OK,
    Handle,
    OpenRuns,
    Run,
    cancelled_jobs,
    ending,
    polled,
    started,
)
from .shared import Shared, SharedData
from .verdicts import Verdict, Verdicts, said_by

#: The values of an `Observation`, or an event made outside of any request.
Item = Union["tuple[Any, ...]", CustomEvent]

#: Clients whose last page a bare middleware remembers, and ids of what was told.
LEDGER_SIZE = 10_000

#: How a page came to be shown, as a part of event data.
_NAVIGATIONS = {navigation: Shared({"navigation": navigation}) for navigation in (LOAD, INTERNAL)}


class Counting:
    """Turns observations into events; runs on the worker alone, so it needs no lock.

    *dash* is None around a WSGI app of which nothing is known; *problem* is told what
    failed in the owner's code: ``problem(reason, error)``; *scripted*: the app's pages have
    the page script; *lines*: events of which nobody needs more may be lines of JSON at once.
    """

    def __init__(
        self,
        policy: Policy,
        dash: DashFacts | None,
        problem: Callable[[str, Exception], None],
        *,
        scripted: bool = False,
        lines: bool = False,
    ) -> None:
        self._scripted = scripted
        self._lines = lines
        self._dash = dash
        self._ignored_callbacks = IgnoredCallbacks(
            policy.ignore_callback, lambda error: problem("ignore_callback", error)
        )
        self._last_page: OrderedDict[tuple[str | None, ...], str] = OrderedDict()
        self._runs = OpenRuns()
        self._told: OrderedDict[str, None] = OrderedDict()  # ids of views and of ended runs
        self._why = ""  # of the request that is being read
        self._hints = Hints()
        ignored_routes = IgnoredRoutes(policy.ignore_route, lambda error: problem("ignore_route", error))
        self._page_data = PageData(policy, dash, ignored_routes, self._hints)
        self._state: Hashable = None  # of the app, while a batch is read
        self._ids: Iterator[str] | None = None  # while a batch is read
        self._verdicts = Verdicts()
        # A function may answer otherwise the next time.
        self._may_repeat = dash is not None and not callable(policy.ignore_route)
        self._run_part = functools.lru_cache(KEPT)(_run_part)
        #: What became of the last requests.
        self.journal = Journal()

    def __call__(self, item: Item) -> Sequence[EventOrLine]:
        """The events that *item* amounts to, in the order they happened."""
        if self._ids is not None:
            return self._read(item)
        with self.batch() as read:
            return read(item)

    @contextmanager
    def batch(self) -> Iterator[Callable[[Item], Sequence[EventOrLine]]]:
        """What reads several items in a row: the app is asked for its state once, and ids' random bits are drawn once.

        Each batch begins with bits of its own, so a process forked in the middle of one does not make the same ids.
        """
        before = self._ids  # the owner's ignore_route, which is asked meanwhile, may track an event
        if self._dash is not None:
            self._state = self._dash.state()
        self._ids = new_ids()
        try:
            yield self._read
        finally:
            self._ids = before

    def _read(self, item: Item) -> Sequence[EventOrLine]:
        if isinstance(item, CustomEvent):
            return [self._outside(item)]
        self._why = ""
        text = item[MARK]
        mark = mark_of(text) if text and self._dash is not None else None
        said = said_by(item, mark, self._state) if self._may_repeat else None
        verdict = self._verdicts.get(said) if said is not None else None
        received = item[RECEIVED]
        if verdict is None:
            seen = observation_of(item)
            page, judged = self._judge(seen, mark)
            if said is not None:
                self._verdicts.keep(said, seen, page, self._why, judged)
            events: Sequence[EventOrLine] = judged
            counted = [event.event for event in judged]
            self.journal.add(received, seen.kind, page.path, seen.status_code, counted, self._why)
        else:
            events = self._again(verdict, item, mark)
            self.journal.add(received, item[0], verdict.page.path, verdict.status, verdict.names, verdict.why)
        return [*events, *self._abandoned(received)] if self._runs.open else events

    def _again(self, verdict: Verdict, item: tuple[Any, ...], mark: Mark | None) -> Sequence[EventOrLine]:
        """The events of a request that said the same as one before; most do, so few steps and fewer calls."""
        assert self._ids is not None
        ids = self._ids
        if mark is not None and mark.page_load != verdict.page.load and verdict.names and item[0] == CALLBACK:
            page = attrs.evolve(verdict.page, load=mark.page_load)
            shared = self._page_data.of(verdict.seen, page, self._state)
            assert shared is not None  # as it was: the load does not decide that
            verdict.take(page, shared)
        received, duration, sent, request_bytes = item[RECEIVED:RARE]
        action = mark.action if mark is not None else None
        if self._lines:
            written = written_moment(received)
            lines = []
            for name, frame in zip(verdict.names, verdict.frames()):
                text = ""
                if name == CALLBACK_EVENT:
                    text = written_measures(action, duration, _count(request_bytes), sent)
                lines.append(frame.line(next(ids), written, text))
            return lines
        moment = _moment(received)
        events = []
        for name, parts in zip(verdict.names, verdict.parts()):
            own: dict[str, Any] = {}
            if name == CALLBACK_EVENT:
                own = _measures(action, duration, None, _count(request_bytes), sent)
            events.append(Event(next(ids), name, moment, SharedData.of(parts, own)))
        return events

    def _judge(self, seen: Observation, mark: Mark | None) -> tuple[Page, list[Event]]:
        """The page of a request, and the events that it amounts to."""
        call = (seen.call or _parsed(seen.body)) if seen.kind == CALLBACK else None
        page = self._document_page(seen) if seen.kind == DOCUMENT else self._page_of(seen, call, mark)
        events = self._request(seen, call, page, mark)
        if seen.custom:
            events = events + self._custom(seen, page)
        return page, events

    def _request(self, seen: Observation, call: CallbackRequest | None, page: Page, mark: Mark | None) -> list[Event]:
        if seen.kind == DOCUMENT:
            return self._document(seen, page)
        if seen.kind == CALLBACK:
            return self._callback(seen, call, page, mark)
        if seen.kind == ROUTE:
            return self._nothing("a route beside the Dash app")
        if seen.kind == REPORT:
            return self._views(seen, mark) if seen.status_code // 100 == 2 else self._nothing("the post was refused")
        return self._boot(seen, mark)

    def _nothing(self, why: str) -> list[Event]:
        self._why = why
        return []

    # -- page views ------------------------------------------------------------------

    def _document(self, seen: Observation, page: Page) -> list[Event]:
        if seen.status_code // 100 != 2:
            return self._nothing("an error or a redirect is no page")
        if not seen.html:
            return self._nothing("not HTML")
        if is_prefetch(seen):
            return self._nothing("fetched ahead, not shown")
        if self._dash is None:
            if seen.fetch_dest not in (None, "document"):
                return self._nothing(f"fetched as {seen.fetch_dest}, not as a page")
            self._remember(seen, page.path)
        else:
            if seen.endpoint is not None and not self._dash.is_page(seen.endpoint):
                return self._nothing("a route beside the Dash app")
            if left_to_script(seen):
                return self._nothing(self._left_to(seen))
        return self._view(seen, page, LOAD, unseen=self._dash is not None)

    def _left_to(self, seen: Observation) -> str:
        if seen.fetch_dest not in (None, "document"):
            return f"fetched as {seen.fetch_dest}, not as a page"
        if self._scripted:
            return "waiting for the page script"
        output = self._dash.canonical_output() if self._dash else None
        return f"waiting for the callback of {output}" if output else "waiting for the renderer's first request"

    def _views(self, seen: Observation, mark: Mark | None) -> list[Event]:
        """The views that the page script tells; nothing where the request is not its own."""
        if mark is None:
            return self._nothing("no header of the page script's")
        if is_prefetch(seen):
            return self._nothing("fetched ahead, not shown")
        if seen.fetch_site not in (None, "same-origin"):
            return self._nothing("sent by another site")
        if seen.foreign:
            return self._nothing("Origin and Host differ: another site's page, or a proxy that changes Host")
        events = []
        self._hints.page_with_script()
        for told in mark.views:
            path, query = split_address(told.address)
            page = Page(path, query, told.referrer, mark.page_load)
            event_id = mark.view_id(told)
            if not _is_new(self._told, event_id):  # the script could not know that the first one arrived
                self._why = "told before"
                continue
            events += self._view(seen, page, told.navigation, age=told.age, event_id=event_id)
        return events

    def _boot(self, seen: Observation, mark: Mark | None) -> list[Event]:
        """The renderer's first request is the load, in an app that no callback stands for."""
        if mark is not None:
            return self._nothing("the page script tells this page")
        if self._scripted:
            self._hints.page_without_script()
        if is_prefetch(seen):
            return self._nothing("fetched ahead, not shown")
        path = referred_path(seen)
        if self._dash is None or path is None:
            return self._nothing("no Referer of this host, so the page is unknown")
        if seen.fetch_site not in (None, "same-origin"):
            return self._nothing("sent by another site")
        if seen.status_code >= 400:
            return self._nothing("an error is no page")
        output = self._dash.canonical_output()
        if output is not None:
            return self._nothing(f"waiting for the callback of {output}")
        return self._view(seen, Page(path), LOAD)

    def _navigation(self, seen: Observation, call: CallbackRequest) -> list[Event]:
        """The view a callback stands for, when its page has no script."""
        path = navigated_path(call)
        if path is None or is_poll(seen.query) or is_prefetch(seen):
            return []
        if self._dash is None:
            if self._remember(seen, path) == path:
                return []
            return self._view(seen, Page(path), INTERNAL)
        if call.output != self._dash.canonical_output():
            return []
        # The page that writes its own location with refresh=True posts the next path, then leaves: the load
        # that follows counts. An origin-only Referer (policy strict-origin) says nothing and must pass.
        if referred_path(seen) not in (None, "/", path):
            return []
        # Which of the two it was cannot be told from one request; most are navigations.
        return self._view(seen, Page(path), INTERNAL)

    def _view(
        self,
        seen: Observation,
        page: Page,
        navigation: str,
        *,
        age: float = 0.0,
        event_id: str | None = None,
        unseen: bool = False,
    ) -> list[Event]:
        """One page view; *unseen*: recorded at a document that no browser is known to show."""
        shared = self._page_data.of(seen, page, self._state, unseen=unseen)
        if shared is None:
            return self._nothing(f"{page.path} is left out by ignore_route, or outside of the app")
        return [self._event(PAGE_VIEW, seen.received - age, (shared, _NAVIGATIONS[navigation]), {}, event_id)]

    def _remember(self, seen: Observation, path: str) -> str | None:
        """The client's page until now; *path* from now on."""
        client = (seen.ip, seen.user_agent, seen.host, seen.user.id if seen.user else None)
        last = self._last_page.pop(client, None)
        self._last_page[client] = path
        if len(self._last_page) > LEDGER_SIZE:
            self._last_page.popitem(last=False)
        return last

    # -- callback runs -----------------------------------------------------------------

    def _callback(self, seen: Observation, call: CallbackRequest | None, page: Page, mark: Mark | None) -> list[Event]:
        if not (200 <= seen.status_code < 300 or seen.status_code >= 500):
            return self._nothing("refused or malformed: nothing ran")
        if self._dash is not None and seen.endpoint is not None and not self._dash.is_callback(seen.endpoint):
            return self._nothing("a route beside the Dash app")
        if mark is not None and seen.status_code > 500:  # from a server in trouble, by which the script tells again
            mark = attrs.evolve(mark, views=())
        views = self._views(seen, mark) if mark else self._navigation(seen, call) if call else []
        if call is None:
            return views or self._nothing("the body names no callback")
        return views + self._run(seen, call, page, mark)

    def _run(self, seen: Observation, call: CallbackRequest, page: Page, mark: Mark | None) -> list[Event]:
        """The event of one server execution; none for the requests that a background run is made of but the last."""
        jobs = cancelled_jobs(seen.query)
        if jobs:
            self._runs.cancel(jobs)
        callback: Callback | None = None
        if self._dash is not None:
            callback = self._dash.callback(call.output)
            if callback is None:  # a stale page's, or a client's invention
                return self._nothing("the app has no such callback")
            if callback in self._ignored_callbacks:
                return self._nothing(f"{callback.name} is left out by its owner")
            if jobs and callback.name.label.startswith("dash."):  # the one that Dash makes for the cancel inputs
                return self._nothing("asks to cancel a background callback")
        polled_run = polled(seen.query)
        if polled_run is not None:
            return self._poll(seen, call, page, mark, callback, polled_run)
        run = self._new_run(seen, call, page, mark, callback)
        if run is None:
            return []
        begun = started(seen.answer)
        if begun is not None:
            self._runs.begin(begun.run_id(mark.page_load if mark else None), begun.job, run)
            return self._nothing("a background callback began; it counts when it ends")
        outcome = ERROR if run.status >= 500 or run.error else NO_UPDATE if run.status == 204 else OK
        return [self._told_run(run, outcome, seen.duration)]

    def _poll(
        self,
        seen: Observation,
        call: CallbackRequest,
        page: Page,
        mark: Mark | None,
        callback: Callback | None,
        handle: Handle,
    ) -> list[Event]:
        run_id = handle.run_id(mark.page_load if mark else None)
        outcome = ending(seen.status_code, seen.answer)
        if outcome is None:
            self._runs.hear(run_id, handle.job, seen.received)
            return self._nothing("asks for a background callback that is running")
        if not _is_new(self._told, run_id):
            return self._nothing("asks for a background callback that has ended")
        run = self._runs.end(run_id, handle.job)
        if outcome == NO_UPDATE and ((mark is not None and mark.cancelled) or (run is not None and run.cancelled)):
            outcome = CANCELLED
        if run is None:  # it began in another worker: the page script knows how long ago
            run = self._new_run(seen, call, page, mark, callback, poll=True)
            if run is None:
                return []
            age = mark.run_age if mark else None
            run.begun -= age or 0.0
            if age is None:
                return [self._ended(run_id, run, outcome, seen, unknown_start=True)]
        return [self._ended(run_id, run, outcome, seen)]

    def _ended(self, run_id: str, run: Run, outcome: str, seen: Observation, *, unknown_start: bool = False) -> Event:
        if outcome in (OK, NO_UPDATE, ERROR):
            run.status = seen.status_code
            run.response_bytes = seen.sent
            run.error = seen.error.to_dict() if seen.error else None
        duration = None if unknown_start else seen.received + seen.duration - run.begun
        return self._told_run(run, outcome, duration, run_id)

    def _abandoned(self, now: float) -> list[Event]:
        """Background runs that nobody asks for any more."""
        events = []
        for run_id, run in self._runs.abandoned(now):
            outcome = CANCELLED if run.cancelled else ABANDONED
            events.append(self._told_run(run, outcome, run.heard - run.begun, run_id))
        return events

    def _told_run(self, run: Run, outcome: str, duration: float | None, run_id: str | None = None) -> Event:
        """The event of a run that took *duration* seconds."""
        part = self._run_part(run.callback, run.output, run.trigger, run.cause, run.background, run.status, outcome)
        measures = _measures(run.action, duration, run.error, run.request_bytes, run.response_bytes)
        return self._event(CALLBACK_EVENT, run.begun, (run.page, part), measures, run_id)

    def _new_run(
        self,
        seen: Observation,
        call: CallbackRequest,
        page: Page,
        mark: Mark | None,
        callback: Callback | None,
        *,
        poll: bool = False,
    ) -> Run | None:
        """The run that a request stands for; None where it is left out. A *poll* repeats the trigger of its run."""
        action = mark.action if mark else None
        cause = cause_of(
            call,
            query="" if poll else seen.query,
            produced=self._dash.produced() if self._dash is not None else (),
            action=action,
            fresh=mark.fresh if mark else None,
        )
        if cause in NOISE:
            self._why = self._why or f"{cause} runs are left out"
            return None
        shared = self._page_data.of(seen, page, self._state)
        if shared is None:
            self._why = "the page is left out by ignore_route, or outside of the app"
            return None
        trigger = trigger_of(call)
        if trigger is not None and callback is not None:
            trigger = callback.inputs.pattern_of(trigger) or trigger
        return Run(
            page=shared,
            callback=callback.name.label if callback else None,
            output=callback.name.output if callback else call.output,
            trigger=trigger,
            cause=cause,
            background=callback.background if callback else False,
            action=action,
            request_bytes=_count(seen.request_bytes),
            status=seen.status_code,
            response_bytes=seen.sent,
            error=seen.error.to_dict() if seen.error else None,
            begun=seen.received,
            heard=seen.received,
        )

    def _page_of(self, seen: Observation, call: CallbackRequest | None, mark: Mark | None) -> Page:
        """The page that sent a request: by its mark, else its Referer, else the address among its inputs."""
        if mark is not None:
            path, query = split_address(mark.address)
            return Page(path, query, None, mark.page_load)
        path_or_none = (navigated_path(call) if call else None) or referred_path(seen)
        if path_or_none is None and call is not None and call.pathname is not None:
            path_or_none = split_address(call.pathname)[0]
        return Page(path_or_none or (self._dash.prefix() if self._dash else "/"))

    def _document_page(self, seen: Observation) -> Page:
        path = wsgi_text(seen.mount + seen.path)
        if self._dash is not None and below(path, self._dash.prefix()) is None:
            # A proxy took the outer part of the prefix away and did not say so: the address bar still has it.
            relative = below(wsgi_text(seen.path), self._dash.routes_prefix())
            if relative is not None:
                path = self._dash.prefix().rstrip("/") + relative
        return Page(path, wsgi_text(seen.query), wsgi_text(seen.referrer) or None)

    # -- custom events -------------------------------------------------------------------

    def _custom(self, seen: Observation, page: Page) -> list[Event]:
        """The app's own events, made while it answered this request."""
        shared = self._page_data.of(seen, page, self._state)
        if shared is None:
            return []
        return [
            self._event(
                custom.name, custom.received, (shared,), {"properties": json.loads(custom.properties)}, custom.id
            )
            for custom in seen.custom or ()
        ]

    def _event(
        self, name: str, seconds: float, parts: tuple[Shared, ...], own: Mapping[str, Any], event_id: str | None = None
    ) -> Event:
        if event_id is None:
            assert self._ids is not None
            event_id = next(self._ids)
        return Event(id=event_id, event=name, timestamp=_moment(seconds), data=SharedData.of(parts, own))

    def _outside(self, custom: CustomEvent) -> Event:
        """An event made outside of any request: no page, nobody."""
        data: dict[str, Any] = dict.fromkeys(PAGE_KEYS)
        data.update(user_id=ANONYMOUS, email=ANONYMOUS, full_name=ANONYMOUS)
        data.update(visitor=None, route=None, page_known=None, page_load=None, automated=False, automated_reason=None)
        data.update(self._page_data.labels(), properties=json.loads(custom.properties))
        return Event(id=custom.id, event=custom.name, timestamp=_moment(custom.received), data=data)


def _is_new(known: OrderedDict[str, None], event_id: str) -> bool:
    """The id was not met before; it is from now on. The oldest are forgotten."""
    if event_id in known:
        return False
    known[event_id] = None
    if len(known) > LEDGER_SIZE:
        known.popitem(last=False)
    return True


def _measures(
    action: int | None,
    duration: float | None,
    error: dict[str, str] | None,
    request_bytes: int | None,
    response_bytes: int,
) -> dict[str, Any]:
    """What a run has for itself; *duration* in seconds."""
    return {
        "action": action,
        "duration_ms": None if duration is None else round(duration * 1000, 3),
        "error": error,
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
    }


def _run_part(
    callback: str | None, output: str, trigger: str | None, cause: str, background: bool, status: int, outcome: str
) -> Shared:
    """What the runs of a callback have in common that begin and end alike."""
    return Shared(
        {
            "callback": callback,
            "output": output,
            "trigger": trigger,
            "cause": cause,
            "status": status,
            "outcome": outcome,
            "background": background,
        }
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


@functools.lru_cache(256)
def _count(text: str | None) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None


def _parsed(body: bytes | None) -> CallbackRequest | None:
    if body is None:
        return None
    try:
        return callback_request(json.loads(body))
    except (ValueError, RecursionError):
        return None

"""Events of an invented company, as its apps would have recorded them.

For tests, measurements and the demo: thousands of people in several time zones with
working hours and weekends, few of whom do most; pages of which few are most viewed; visits
with loads, navigations, callbacks and their causes; latencies with a long tail; errors and
slow callbacks that come with one release and go with another; background runs, custom
events, robots. The same arguments make the same events, ids included, on every machine.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import Any

import attrs

from .addresses import encode_path
from .demo_company import HOST, OFFICES, ROBOTS, App, Company, Page, Person, Run, company
from .events import CALLBACK, PAGE_KEYS, PAGE_VIEW, Event
from .privacy import visitor_id

#: Events that one person leaves behind a day, weekends and quiet people included.
EVENTS_PER_PERSON_AND_DAY = 4.0
_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_KEY = "the demo keeps no secrets"
#: How busy the hours of a working day are, by the local clock.
_HOURS = (1, 1, 1, 1, 1, 2, 6, 16, 40, 58, 62, 52, 36, 46, 58, 56, 46, 30, 16, 8, 5, 4, 3, 2)
_WEEKEND = 0.06
_ORIGIN = f"https://{HOST}"
_SITES = (None, "https://intranet.example.com/", "https://mail.example.com/", "https://www.google.com/")
_SITE_SHARES = (0.55, 0.82, 0.97, 1.0)
_QUERIES = ("region=EMEA", "region=APAC&view=table", "period=2025-Q3", "view=chart&compare=year", "tab=details")
#: An event before it is made: microseconds, its number, name, the page's data, and its own.
_Act = tuple[int, int, str, Mapping[str, Any], Mapping[str, Any]]


@attrs.frozen
class Plan:
    """How much of what: *events* in the *days* of 24 hours before *end*, by about *users* people."""

    events: int
    days: int
    users: int
    seed: int
    end: datetime

    @classmethod
    def of(
        cls,
        *,
        events: int | None = None,
        days: int = 90,
        users: int | None = None,
        seed: int = 1,
        end: datetime | None = None,  # None: now
    ) -> Plan:
        """What is not given follows from the rest; 1,000 users where nothing says how much. ValueError for nonsense."""
        for name, value in (("events", events), ("days", days), ("users", users)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        per_user = days * EVENTS_PER_PERSON_AND_DAY
        if users is None:
            users = 1000 if events is None else max(math.ceil(events / per_user), 3)
        moment = datetime.now(timezone.utc) if end is None else end
        if not 1900 <= moment.year <= 9000:
            raise ValueError(f"end must be in the years 1900 to 9000, got {moment.isoformat()}")
        return cls(round(users * per_user) if events is None else events, days, users, seed, moment)


def demo_events(plan: Plan) -> Iterator[Event]:
    """The events of *plan*, exactly as many, oldest first; memory for about one day of them is needed."""
    return _Story(plan).events()


class _Story:
    """Draws visit after visit, a day at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers = random.Random(plan.seed)
        self._company: Company = company(self._numbers, people=plan.users, days=plan.days)
        self._end = (plan.end - _EPOCH) // timedelta(microseconds=1)
        self._count = 0
        self._names: dict[tuple[str, str, str, int], str | None] = {}  # visitors of the day

    def events(self) -> Iterator[Event]:
        waiting: list[_Act] = []
        days = [self._hours_of(day) for day in range(self._plan.days)]
        for day, quota in enumerate(self._quotas(days)):
            self._names.clear()
            _, end = self._bounds(day)
            waiting += self._day(day, days[day], quota)
            waiting.sort()
            due = bisect(waiting, (end,))
            for at, _, name, page, own in waiting[:due]:
                yield self._event(at, name, page, own)
            del waiting[:due]  # what is left runs over into the next day

    # -- when -------------------------------------------------------------------------

    def _bounds(self, day: int) -> tuple[int, int]:
        start = self._end - (self._plan.days - day) * _DAY
        return start, start + _DAY

    def _hours_of(self, day: int) -> dict[int, tuple[float, ...]]:
        """By offset: how busy the hours of a day are there, cumulative."""
        start, _ = self._bounds(day)
        found = {}
        for offset, _ in OFFICES:
            busy = []
            for hour in range(24):
                local = start // _HOUR + hour + offset
                weekend = (local // 24 + 3) % 7 >= 5  # the epoch was a Thursday
                busy.append(_HOURS[local % 24] * (_WEEKEND if weekend else 1.0))
            found[offset] = tuple(accumulate(busy))
        return found

    def _quotas(self, days: list[dict[int, tuple[float, ...]]]) -> list[int]:
        """Events of each day; together as many as planned."""
        weights = [
            (
                sum(person.weight * hours[person.offset][-1] for person in self._company.people if person.is_here(day))
                + 1
            )
            * self._numbers.uniform(0.9, 1.1)
            for day, hours in enumerate(days)
        ]
        share = self._plan.events / sum(weights)
        edges = [round(total * share) for total in accumulate(weights)]
        return [right - left for left, right in zip([0, *edges], edges)]

    # -- one day ------------------------------------------------------------------------

    def _day(self, day: int, hours: dict[int, tuple[float, ...]], quota: int) -> list[_Act]:
        numbers = self._numbers
        start, end = self._bounds(day)
        last = day == self._plan.days - 1
        people = [person for person in self._company.people if person.is_here(day)] or list(self._company.people)
        weights = tuple(accumulate(person.weight * hours[person.offset][-1] for person in people))
        visitors = self._company.visitors
        visitor_weights = tuple(accumulate(each.weight * hours[each.offset][-1] for each in visitors))
        slowness = 3.0 if numbers.random() < 0.03 else 1.0  # a bad day of the database
        acts: list[_Act] = []
        if quota > 50 * len(self._company.apps):
            for app in self._company.apps:
                acts.append(self._nightly(app, start + int(numbers.random() * _DAY), day))
        while len(acts) < quota:
            kind = numbers.random()
            if kind < 0.02:
                found = [self._robot(start + int(numbers.random() * _DAY), day)]
            else:
                person = (
                    visitors[bisect(visitor_weights, numbers.random() * visitor_weights[-1])]
                    if kind < 0.11
                    else people[bisect(weights, numbers.random() * weights[-1])]
                )
                busy = hours[person.offset]
                hour = bisect(busy, numbers.random() * busy[-1])
                found = self._visit(person, start + int((hour + numbers.random()) * _HOUR), day, slowness)
            acts += [act for act in found if act[0] < end] if last else found
        del acts[quota:]
        return acts

    def _visit(self, person: Person, at: int, day: int, slowness: float) -> list[_Act]:
        numbers = self._numbers
        chance = numbers.random
        app = self._company.apps[bisect(person.shares, chance() * person.shares[-1])]
        release = app.release(day)
        scripted = chance() > 0.03  # where the page script is not blocked
        environment = "staging" if person.group == "Engineering" and chance() < 0.15 else "production"
        acts: list[_Act] = []
        path = referrer = load = None
        action: int | None = None
        views = 1 + int(numbers.expovariate(0.42))
        until = at + 3 * _HOUR
        for view in range(views):
            loaded = view == 0 or chance() < 0.12
            place = bisect(app.shares, chance() * app.shares[-1])
            page = app.pages[0 if view == 0 and chance() < 0.45 else place]
            if loaded:
                load, action = (f"{numbers.getrandbits(64):016x}", 0) if scripted else (None, None)
            site = _SITES[bisect(_SITE_SHARES, chance())] if view == 0 else referrer
            path = app.mount + self._address(page)
            query = numbers.choice(_QUERIES) if chance() < 0.12 else ""
            seen = self._page(person, app, page, path, query, site if loaded else None, load, at, release, environment)
            referrer = seen["url"]
            acts.append((at, self._next(), PAGE_VIEW, seen, {"navigation": "load" if loaded else "internal"}))
            at += int((0.15 + 0.4 * chance()) * _SECOND)
            seen = {**seen, "referrer": None} if seen["referrer"] else seen  # only the view knows
            wait = 0
            for run in page.initial:
                own, took = self._run(app, run, "initial", None, action, release, slowness)
                acts.append((at + int(chance() * 50_000), self._next(), CALLBACK, seen, own))
                wait = max(wait, took)
            at += wait + int(numbers.lognormvariate(2.4, 1.0) * _SECOND)
            while page.actions and chance() < 0.62 and at < until:
                if action is not None:
                    action += 1
                at += self._action(acts, app, page, seen, at, action, release, slowness)
            if at > until:
                break
        return acts

    def _action(
        self,
        acts: list[_Act],
        app: App,
        page: Page,
        seen: Mapping[str, Any],
        at: int,
        action: int | None,
        release: int,
        slowness: float,
    ) -> int:
        """What one action of the user leaves behind; microseconds until the next one."""
        numbers = self._numbers
        now, cause = at, "user"
        for run in page.actions[min(int(numbers.expovariate(0.7)), len(page.actions) - 1)]:
            own, took = self._run(app, run, cause, run.trigger, action, release, slowness)
            acts.append((now, self._next(), CALLBACK, seen, own))
            if own["outcome"] != "ok":
                break  # nothing was written, so nothing follows
            now, cause = now + took + 20_000, "cascade"
        if page.events and numbers.random() < 0.07:
            name = numbers.choice(page.events)
            acts.append((at + 30_000, self._next(), name, seen, {"properties": self._properties(name)}))
        # Now and then somebody fetches a coffee: a gap that does not end the visit, or one that does.
        pause = numbers.lognormvariate(2.3, 1.1) if numbers.random() > 0.01 else numbers.uniform(300, 3600)
        return now - at + int(pause * _SECOND)

    def _run(
        self,
        app: App,
        run: Run,
        cause: str,
        trigger: str | None,
        action: int | None,
        release: int,
        slowness: float,
    ) -> tuple[dict[str, Any], int]:
        """A run's own data, and how many microseconds it took."""
        numbers = self._numbers
        chance = numbers.random()
        ms = run.ms * slowness * math.exp(numbers.gauss(0.0, 0.55))
        if chance > 0.99:
            ms *= numbers.uniform(5, 25)
        slow = app.slow.get(run.callback)
        if slow is not None and slow[1] <= release <= slow[2]:
            ms *= slow[0]
        status, outcome, error, sent = 200, "ok", None, int(run.sent * numbers.uniform(0.6, 1.5))
        if chance < run.idle:
            status, outcome, sent = 204, "no_update", 0
        else:
            chance = numbers.random()
            for failure in app.failures[run.callback]:
                if chance < failure.rate and failure.first <= release <= failure.last:
                    status, outcome, sent = 500, "error", 265
                    error = {"type": failure.type, "where": failure.where}
                    break
            else:
                if run.background and chance > 0.88:
                    outcome, sent = ("cancelled" if chance > 0.94 else "abandoned"), 96
        return {
            "callback": run.callback,
            "output": run.output,
            "trigger": trigger,
            "cause": cause,
            "action": action,
            "status": status,
            "outcome": outcome,
            "duration_ms": round(ms, 3),
            "error": error,
            "request_bytes": run.asked,
            "response_bytes": sent,
            "background": run.background,
        }, int(ms * 1000)

    def _robot(self, at: int, day: int) -> _Act:
        numbers = self._numbers
        number = numbers.randrange(len(ROBOTS))
        app = self._company.apps[numbers.randrange(len(self._company.apps))]
        nobody = "anonymous"
        ip = f"192.0.2.{number + 1}"
        robot = Person(nobody, nobody, nobody, None, 0, ip, ROBOTS[number], 0.0, (), 0, 0, (0, 0))
        page = app.pages[bisect(app.shares, numbers.random() * app.shares[-1])]
        path = app.mount + self._address(page)
        seen = self._page(robot, app, page, path, "", None, None, at, app.release(day), "production")
        seen.update(automated=True, automated_reason="user agent")
        return at, self._next(), PAGE_VIEW, seen, {"navigation": "load"}

    def _nightly(self, app: App, at: int, day: int) -> _Act:
        """An event from outside of any request: nobody's, on no page."""
        data: dict[str, Any] = dict.fromkeys(PAGE_KEYS)
        data.update(user_id="anonymous", email="anonymous", full_name="anonymous")
        data.update(visitor=None, route=None, page_known=None, page_load=None, automated=False, automated_reason=None)
        data.update(app_name=app.name, release=_version(app.release(day)), environment="production")
        properties = {"rows": self._numbers.randint(1000, 90_000), "seconds": round(self._numbers.uniform(20, 400), 1)}
        return at, self._next(), "data_loaded", data, {"properties": properties}

    # -- what an event says -----------------------------------------------------------

    def _page(
        self,
        person: Person,
        app: App,
        page: Page,
        path: str,
        query: str,
        referrer: str | None,
        load: str | None,
        at: int,
        release: int,
        environment: str,
    ) -> dict[str, Any]:
        base = _ORIGIN + encode_path(path)
        data = {
            "app_name": app.name,
            "ip": person.ip,
            "user_agent": person.user_agent,
            "base_url": base,
            "url": f"{base}?{query}" if query else base,
            "url_root": f"{_ORIGIN}{app.mount}/",
            "referrer": referrer,
            "path": path,
            "full_path": f"{path}?{query}",
            "method": "GET",
            "user_id": person.user_id,
            "email": person.email,
            "full_name": person.full_name,
            "visitor": self._visitor(person, app, at),
            "route": page.route,
            "page_known": True,
            "page_load": load,
            "automated": False,
            "automated_reason": None,
            "release": _version(release),
            "environment": environment,
        }
        if person.group is not None:
            data["group"] = person.group
        return data

    def _visitor(self, person: Person, app: App, at: int) -> str | None:
        key = (person.ip, person.user_agent, app.name, at // _DAY)
        if key not in self._names:
            when = _EPOCH + timedelta(microseconds=at)
            self._names[key] = visitor_id(
                _KEY, when=when, app_name=app.name, ip=person.ip, user_agent=person.user_agent
            )
        return self._names[key]

    def _address(self, page: Page) -> str:
        if not page.things:
            return page.route
        number = int(page.things ** self._numbers.random())  # Zipf: as many among 1 to 10 as among 10 to 100
        return f"{page.route[: page.route.index('<')]}{1000 + number}"

    def _properties(self, name: str) -> dict[str, Any]:
        if name == "export":
            return {"rows": self._numbers.randint(1, 5000), "format": self._numbers.choice(("csv", "xlsx", "pdf"))}
        return {"with": self._numbers.choice(("team", "group", "everybody"))}

    def _next(self) -> int:
        """Keeps events of one microsecond in order, and spares comparing their data."""
        self._count += 1
        return self._count

    def _event(self, at: int, name: str, page: Mapping[str, Any], own: Mapping[str, Any]) -> Event:
        bits = self._numbers.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | (
            0x4 << 76 | 0x2 << 62
        )  # RFC 9562, version 4
        text = f"{bits:032x}"
        return Event(
            id=f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
            event=name,
            timestamp=_EPOCH + timedelta(microseconds=at),
            data={**page, **own},
        )


def _version(release: int) -> str:
    return f"{1 + release // 10}.{release % 10}.0"

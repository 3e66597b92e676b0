"""An invented company: its apps with their pages and callbacks, its people, its releases.

Everything is drawn from the `random.Random` that is passed in, so the same seed is the
same company.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

import attrs

HOST = "apps.example.com"
#: Days between two releases of an app.
RELEASE_DAYS = 12

_FIRST = (
    "Ada Alan Amara Ana Anja Arjun Aya Barbara Carla Chen Clara Daniel Elena Emil Farah Felix Grace Hana "
    "Hugo Ines Ivan Jamal Jonas Julia Kai Katherine Lars Leila Linus Lucia Mara Marco Mei Mila Nadia Noah "
    "Olga Omar Paula Pedro Priya Rania Rafael Rosa Samir Sara Sofia Tariq Tomas Uma Vera Wei Yara Yusuf "
    "Zoe"
)
_LAST = (
    "Adams Almeida Bauer Becker Costa Cruz Dubois Evans Fischer Garcia Haddad Hansen Hopper Ito Jansen "
    "Johnson Kaya Khan Kim Kowalski Larsen Lee Lopez Lovelace Martin Meyer Miller Mori Moreau Nguyen "
    "Nowak Okafor Olsen Patel Pereira Popov Rossi Sato Schmidt Silva Singh Smith Suzuki Tanaka Torres "
    "Turing Wagner Weber Wilson Wong Yilmaz Zhang"
)
_GROUPS = ("Sales", "Operations", "Finance", "Supply chain", "Quality", "Engineering", "Human resources", "Management")
_GROUP_SHARES = (30, 22, 12, 12, 9, 8, 4, 3)
#: Hours east of UTC, and the share of the people there.
OFFICES = ((1, 40), (0, 15), (-5, 25), (-3, 8), (8, 12))

_CHROME = "Mozilla/5.0 ({0}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{1}.0.0.0 Safari/537.36"
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
ROBOTS = (
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +https://bot.example.org/)",
    "Mozilla/5.0 (compatible; IntranetCrawler/1.0)",
    "kube-probe/1.29",
    "curl/8.5.0",
    "python-requests/2.32.3",
)


@attrs.frozen
class Run:
    """What a callback is called and how its runs turn out; *ms* and *sent* are medians."""

    callback: str
    output: str
    trigger: str
    ms: float
    sent: int  # bytes
    asked: int  # bytes
    idle: float  # share of the runs that update nothing
    background: bool = False


@attrs.frozen
class Page:
    """*initial* runs when it is shown; each of *actions* is what one action of the user runs: its callback first."""

    route: str
    things: int  # how many addresses the route has, 0 where it is one itself
    initial: tuple[Run, ...]
    actions: tuple[tuple[Run, ...], ...]
    events: tuple[str, ...]  # custom events tracked there


@attrs.frozen
class Failure:
    """An error that comes with one release and goes with another (their numbers)."""

    type: str
    where: str
    rate: float
    first: int
    last: int


@attrs.frozen(eq=False)
class App:
    name: str
    mount: str
    module: str
    pages: tuple[Page, ...]
    shares: tuple[float, ...]  # cumulative, of the pages
    failures: dict[str, tuple[Failure, ...]]  # by callback
    slow: dict[str, tuple[float, int, int]]  # by callback: factor, first and last release
    phase: int  # days

    def release(self, day: int) -> int:
        """The number of the release in use on a *day*."""
        return (day + self.phase) // RELEASE_DAYS


@attrs.frozen(eq=False)
class Person:
    """Somebody, or a browser without a log-in; here from the day *since* until *until*, but for those of *away*."""

    user_id: str
    email: str
    full_name: str
    group: str | None
    offset: int  # hours east of UTC
    ip: str
    user_agent: str
    weight: float
    shares: tuple[float, ...]  # cumulative, of the apps
    since: int
    until: int
    away: tuple[int, int]

    def is_here(self, day: int) -> bool:
        return self.since <= day < self.until and not self.away[0] <= day < self.away[1]


@attrs.frozen(eq=False)
class Company:
    apps: tuple[App, ...]
    people: Sequence[Person]
    visitors: Sequence[Person]


_APPS = (
    ("Sales explorer", "/sales", "orders customers regions forecast pipeline targets prices returns"),
    ("Supply planner", "/supply", "stock suppliers deliveries demand routes warehouses"),
    ("Quality lab", "/quality", "batches samples limits complaints audits"),
    ("Finance cockpit", "/finance", "budget ledger cash costs"),
)


def company(numbers: random.Random, *, people: int, days: int) -> Company:
    """A company of *people*, two thirds of whom are there on the first of the *days*."""
    apps = tuple(_app(numbers, *each, days=days) for each in _APPS)
    return Company(
        apps,
        [_person(numbers, rank, len(apps), days) for rank in range(people)],
        [_visitor(numbers, rank, len(apps), days) for rank in range(max(people // 4, 1))],
    )


def _app(numbers: random.Random, name: str, mount: str, sections: str, *, days: int) -> App:
    module = f"{name.split()[0].lower()}.pages"
    pages = [Page("/", 0, (_run(numbers, module, "home", "draw_overview", "kpis.children"),), (), ())]
    for section in sections.split():
        pages += _section(numbers, module, section)
    runs = [run for page in pages for run in (*page.initial, *(run for action in page.actions for run in action))]
    releases = days // RELEASE_DAYS + 2
    kinds = ("KeyError", "ValueError", "TypeError", "ZeroDivisionError", "pandas.errors.MergeError")
    failures: dict[str, tuple[Failure, ...]] = {
        run.callback: (
            Failure("sqlalchemy.exc.OperationalError", f"{module.split('.')[0]}.store:query:88", 0.002, 0, releases),
        )
        for run in runs
    }
    for run in numbers.sample(runs, max(len(runs) // 6, 2)):
        first = numbers.randrange(releases)
        function, line = numbers.choice(("load", "merge", "rows_of")), numbers.randint(12, 340)
        where = f"{run.callback.partition(':')[0]}:{function}:{line}"
        failures[run.callback] += (
            Failure(numbers.choice(kinds), where, numbers.uniform(0.02, 0.15), first, first + numbers.randint(0, 2)),
        )
    slow = {}
    for run in numbers.sample(runs, 3):
        first = numbers.randrange(releases)
        slow[run.callback] = (numbers.uniform(2.5, 5), first, first + 1)
    # Home first, then Zipf over pages in an order of their own.
    order = list(range(1, len(pages)))
    numbers.shuffle(order)
    rank = {page: place for place, page in enumerate([0, *order], 1)}
    shares = tuple(accumulate(1 / rank[number] for number in range(len(pages))))
    return App(name, mount, module, tuple(pages), shares, failures, slow, numbers.randrange(RELEASE_DAYS))


def _section(numbers: random.Random, module: str, section: str) -> list[Page]:
    """A page with a chart and a table, and one page for each thing in the table."""

    def run(
        name: str, output: str, trigger: str, *, ms: float = 1.0, idle: float = 0.02, background: bool = False
    ) -> Run:
        return _run(numbers, module, section, name, output, trigger, ms=ms, idle=idle, background=background)

    draw = run(f"draw_{section}", f"{section}-chart.figure", f"{section}-period.value")
    table = run(f"list_{section}", f"{section}-table.data", f"{section}-chart.figure", ms=0.6)
    choose = attrs.evolve(draw, trigger=f"{section}-region.value")
    search = run(f"find_{section}", f"{section}-table.data", f"{section}-search.value", ms=0.4, idle=0.25)
    detail = run(f"open_{section}", f"{section}-detail.children", f"{section}-table.active_cell", idle=0.45)
    export = run(
        f"export_{section}", f"..{section}-file.data...{section}-note.children..", f"{section}-export.n_clicks"
    )
    actions = [(draw, table), (choose, table), (choose, table), (search,), (detail,), (export,)]
    if numbers.random() < 0.4:
        plan = run(f"compute_{section}", f"{section}-plan.children", f"{section}-compute.n_clicks", background=True)
        actions.append((plan,))
    note = run(f"save_{section}_note", f"{section}-saved.children", f"{section}-note.value", ms=0.3, idle=0.1)
    one = run(f"draw_{section}_one", f"{section}-one.figure", f"{section}-one-period.value")
    return [
        Page(f"/{section}", 0, (draw, table), tuple(actions), ("export", "filter_saved")),
        Page(f"/{section}/<number>", numbers.randint(40, 4000), (one,), ((one,), (note,)), ("shared",)),
    ]


def _run(
    numbers: random.Random,
    module: str,
    section: str,
    name: str,
    output: str,
    trigger: str = "",
    *,
    ms: float = 1.0,
    idle: float = 0.02,
    background: bool = False,
) -> Run:
    return Run(
        callback=f"{module}.{section}:{name}",
        output=output,
        trigger=trigger,
        ms=numbers.lognormvariate(4.2, 0.9) * ms * (150 if background else 1),
        sent=int(numbers.lognormvariate(8.5, 1.2)),
        asked=numbers.randint(180, 900),
        idle=idle,
        background=background,
    )


def _person(numbers: random.Random, rank: int, apps: int, days: int) -> Person:
    first, last = numbers.choice(_FIRST.split()), numbers.choice(_LAST.split())
    name = f"{first}.{last}{rank}".lower()
    since = 0 if numbers.random() < 0.65 else numbers.randrange(days)
    until = days if numbers.random() < 0.88 else numbers.randint(since, days)
    left = numbers.randrange(days)
    back = left + (numbers.randint(10, 40) if numbers.random() < 0.2 else numbers.randint(0, 9))
    return Person(
        user_id=name,
        email=f"{name}@example.com",
        full_name=f"{first} {last}",
        group=numbers.choices(_GROUPS, _GROUP_SHARES)[0],
        offset=_offset(numbers),
        ip=f"10.{rank >> 16 & 255}.{rank >> 8 & 255}.{rank & 255}",
        user_agent=_agent(numbers),
        weight=1 / (rank + 3) ** 0.8,
        shares=_preferences(numbers, apps),
        since=since,
        until=until,
        away=(left, back),
    )


def _visitor(numbers: random.Random, rank: int, apps: int, days: int) -> Person:
    ip = f"172.{16 + (rank >> 16 & 15)}.{rank >> 8 & 255}.{rank & 255}"
    nobody = "anonymous"
    shares = _preferences(numbers, apps)
    weight = 1 / (rank + 2) ** 0.7
    offset = _offset(numbers)
    return Person(nobody, nobody, nobody, None, offset, ip, _agent(numbers), weight, shares, 0, days, (0, 0))


def _offset(numbers: random.Random) -> int:
    return numbers.choices([office[0] for office in OFFICES], [office[1] for office in OFFICES])[0]


def _agent(numbers: random.Random) -> str:
    system, version = numbers.choices(_SYSTEMS, (80, 15, 5))[0], numbers.randint(118, 142)
    kind = numbers.random()
    if kind < 0.12:
        return f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    if kind < 0.16:
        return (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 "
            "Safari/605.1.15"
        )
    chrome = _CHROME.format(system, version)
    return f"{chrome} Edg/{version}.0.0.0" if kind < 0.55 else chrome


def _preferences(numbers: random.Random, apps: int) -> tuple[float, ...]:
    """Most people have one app that they mostly use."""
    favourite = numbers.choices(range(apps), [apps - number for number in range(apps)])[0]
    return tuple(accumulate(8.0 if number == favourite else 1.0 / (number + 1) for number in range(apps)))

"""A small multi-page Dash app with the tracker on: something to click, offline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import dash
from dash import Dash, Input, Output, dcc, html
from flask import Flask, has_request_context, session

from .repositories.sql import SqlTrackerRepository
from .tracker import Tracker

REGIONS = ("North", "East", "South", "West")
PRODUCTS = ("Chairs", "Desks", "Lamps")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

PEOPLE = {
    "ada": {"id": "ada", "email": "ada@example.com", "full_name": "Ada Lovelace"},
    "grace": {"id": "grace", "email": "grace@example.com", "full_name": "Grace Hopper"},
}

LINKS = (
    ("Overview", "/"),
    ("Regions", "/regions"),
    ("Orders", "/orders"),
    ("Forecast (slow)", "/forecast"),
    ("Stock (fails)", "/stock"),
)

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}<title>{%title%}</title>{%favicon%}{%css%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1d2733; background: #f6f7f9; }
header { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; align-items: center; padding: .7rem 1.5rem; }
header { background: #14324a; color: #fff; }
header a { color: #cfe3f3; text-decoration: none; } header a:hover { text-decoration: underline; }
header .who { margin-left: auto; min-width: 12rem; color: #1d2733; }
main { max-width: 60rem; margin: 1.5rem auto; padding: 1rem 1.5rem; background: #fff; border-radius: 8px; }
h1 { font-size: 1.3rem; margin: .2rem 0 1rem; } td, th { padding: .25rem 1.2rem .25rem 0; text-align: left; }
button { font: inherit; padding: .35rem .9rem; margin: 0 .6rem .8rem 0; cursor: pointer; }
.hint { color: #5a6772; }
</style>
</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def create_app(db: str) -> tuple[Dash, Tracker]:
    """The sales explorer, recording to the database URL *db*."""
    app = Dash(__name__, title="Sales explorer", update_title="", use_pages=True, pages_folder="")
    app.index_string = INDEX
    # Nothing here is secret: the two people have no password. It lets several workers read one session.
    app.server.secret_key = "the demo keeps no secrets"
    tracker = Tracker(app, repository=SqlTrackerRepository(db))
    app.layout = _frame
    _register_pages()
    _register_callbacks(app, tracker)
    return app, tracker


def wsgi(db: str) -> Flask:
    """The same app for a WSGI server: ``gunicorn -w 2 "dash_user_tracker.demo:wsgi('sqlite:///demo.db')"``."""
    app, _ = create_app(db)
    server: Flask = app.server
    return server


def sales(product: str, region: str) -> list[int]:
    """Twelve months of invented sales, the same on every machine."""
    numbers = random.Random(f"{product} in {region}")
    base = numbers.randint(40, 90)
    return [base + month * numbers.randint(0, 4) + numbers.randint(-8, 8) for month in range(12)]


# -- pages -----------------------------------------------------------------------------


def _frame() -> html.Div:
    # Dash also calls this while the app is built, to validate the layout.
    signed_in = session["user"]["id"] if has_request_context() and "user" in session else "nobody"
    who = dcc.Dropdown(
        id="who",
        value=signed_in,
        clearable=False,
        options=[{"label": "Nobody signed in", "value": "nobody"}]
        + [{"label": person["full_name"], "value": name} for name, person in PEOPLE.items()],
    )
    return html.Div(
        [
            html.Header(
                [
                    html.Strong("Sales explorer"),
                    *(_link(text, path) for text, path in LINKS),
                    html.Div(who, className="who"),
                ]
            ),
            html.Main([dash.page_container, html.P(id="signed-in", className="hint")]),
        ]
    )


def _link(text: str, path: str) -> dcc.Link:
    return dcc.Link(text, href=dash.get_relative_path(path))  # type: ignore[no-untyped-call]  # Dash has no types for it


def _register_pages() -> None:
    pages: tuple[tuple[str, dict[str, Any], Callable[..., Any]], ...] = (
        ("Overview", {"path": "/"}, _overview),
        ("Regions", {"path": "/regions"}, _regions),
        ("Region", {"path_template": "/regions/<name>"}, _region),
        ("Orders", {"path": "/orders"}, _orders),
        ("Forecast", {"path": "/forecast"}, _forecast),
        ("Stock", {"path": "/stock"}, _stock),
    )
    for name, where, layout in pages:
        dash.register_page(  # type: ignore[no-untyped-call]  # Dash has no types for it
            f"demo.{name.lower()}", name=name, title=f"{name} - Sales explorer", layout=layout, **where
        )


def _overview(**_: str) -> html.Div:
    return html.Div(
        [
            html.H1("Sales by month"),
            dcc.Dropdown(id="product", options=list(PRODUCTS), value=PRODUCTS[0], clearable=False),
            dcc.Graph(id="by-month"),
        ]
    )


def _regions(**_: str) -> html.Div:
    rows = [
        html.Tr(
            [
                html.Td(_link(region, f"/regions/{region.lower()}")),
                html.Td(sum(sum(sales(product, region)) for product in PRODUCTS)),
            ]
        )
        for region in REGIONS
    ]
    return html.Div([html.H1("Regions"), html.Table([html.Tr([html.Th("Region"), html.Th("Sold")]), *rows])])


def _region(name: str = "", **_: str) -> html.Div:
    region = name.capitalize()
    if region not in REGIONS:
        return html.Div([html.H1(f"No region {name!r}"), html.P("Choose one under Regions.", className="hint")])
    totals = [sum(sales(product, region)) for product in PRODUCTS]
    figure = {"data": [{"type": "bar", "x": PRODUCTS, "y": totals}], "layout": {"height": 340, "margin": {"t": 10}}}
    return html.Div([html.H1(f"Sold in {region}"), dcc.Graph(id="by-product", figure=figure)])


def _orders(**_: str) -> html.Div:
    return html.Div(
        [
            html.H1("Orders"),
            html.Button("Next orders", id="next"),
            html.Button("Export", id="export"),
            dcc.Download(id="file"),
            html.P(id="exported", className="hint"),
            html.Div(_orders_table(0), id="orders"),
        ]
    )


def _orders_table(page: int) -> html.Table:
    head = html.Tr([html.Th(text) for text in ("Order", "Region", "Product", "Pieces")])
    return html.Table([head, *(html.Tr([html.Td(cell) for cell in order]) for order in _orders_of(page))])


def _orders_of(page: int) -> list[tuple[int, str, str, int]]:
    numbers = random.Random(page)
    return [
        (1000 + page * 8 + row, numbers.choice(REGIONS), numbers.choice(PRODUCTS), numbers.randint(1, 40))
        for row in range(8)
    ]


def _forecast(**_: str) -> html.Div:
    return html.Div(
        [
            html.H1("Forecast"),
            html.P("Takes a second and a half, so that the report has something slow to show.", className="hint"),
            html.Button("Compute", id="compute"),
            dcc.Loading(html.Div(id="forecast")),
        ]
    )


def _stock(**_: str) -> html.Div:
    return html.Div(
        [
            html.H1("Stock"),
            html.P("Its callback always fails, so that the report has an error to show.", className="hint"),
            html.Button("Look up", id="look-up"),
            html.Div(id="stock"),
        ]
    )


# -- callbacks -------------------------------------------------------------------------


class WarehouseDown(Exception):
    """The failure that the stock page shows."""


def _register_callbacks(app: Dash, tracker: Tracker) -> None:
    @app.callback(Output("signed-in", "children"), Input("who", "value"), prevent_initial_call=True)
    def sign_in(name: str) -> str:
        session.pop("user", None)
        if name in PEOPLE:
            session["user"] = PEOPLE[name]
        return f"From now on you are {PEOPLE[name]['full_name'] if name in PEOPLE else 'nobody'}."

    @app.callback(Output("by-month", "figure"), Input("product", "value"))
    def draw_months(product: str) -> dict[str, Any]:
        lines = [{"x": MONTHS, "y": sales(product, region), "name": region} for region in REGIONS]
        return {"data": lines, "layout": {"height": 380, "margin": {"t": 20}}}

    @app.callback(Output("orders", "children"), Input("next", "n_clicks"), prevent_initial_call=True)
    def next_orders(clicks: int) -> html.Table:
        return _orders_table(clicks)

    @app.callback(
        Output("file", "data"), Output("exported", "children"), Input("export", "n_clicks"), prevent_initial_call=True
    )
    def export(_: int) -> tuple[dict[str, Any], str]:
        orders = _orders_of(0)
        tracker.track("export", rows=len(orders))
        lines = ["order,region,product,pieces", *(",".join(map(str, order)) for order in orders)]
        return {"content": "\n".join(lines), "filename": "orders.csv"}, f"{len(orders)} orders exported."

    @app.callback(Output("forecast", "children"), Input("compute", "n_clicks"), prevent_initial_call=True)
    def compute_forecast(_: int) -> str:
        time.sleep(1.5)
        return f"Next month: {sum(sales(product, region)[-1] for product in PRODUCTS for region in REGIONS)} pieces."

    @app.callback(Output("stock", "children"), Input("look-up", "n_clicks"), prevent_initial_call=True)
    def look_up_stock(_: int) -> str:
        raise WarehouseDown("this callback fails on purpose")

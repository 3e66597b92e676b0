"""``dash-user-tracker doctor``: what would be counted, and what is set up wrong."""

from __future__ import annotations

import json

import flask
import pytest
from click.testing import CliRunner
from dash import Dash, Input, Output, dcc, html

from dash_user_tracker import MemoryTrackerRepository, Tracker
from dash_user_tracker.cli import main
from dash_user_tracker.doctor import FAILURE, WARNING, examine, find_app
from dash_user_tracker.errors import ConfigurationError


def make_app(**options):
    app = Dash(__name__, **options)
    app.server.secret_key = "k"
    app.layout = html.Div([dcc.Location(id="url"), html.Div(id="out")])

    @app.callback(Output("out", "children"), Input("url", "pathname"))
    def out(path):
        raise AssertionError("the doctor runs no callback")

    return app


def found(app, **options):
    return [(finding.level, finding.what) for finding in examine(app, **options)]


def wrong(app, **options):
    return " | ".join(what for level, what in found(app, **options) if level in (FAILURE, WARNING))


@pytest.mark.parametrize(
    "options", [{}, {"url_base_pathname": "/base/"}, {"requests_pathname_prefix": "/out/"}], ids=str
)
def test_a_sound_app_has_nothing_to_mend(options):
    app = make_app(**options)
    repository = MemoryTrackerRepository()
    tracker = Tracker(app, repository=repository)
    assert wrong(app) == ""
    assert any("is one page view by 'anonymous'" in what for _, what in found(app))
    tracker.flush()
    assert repository.events == []


def test_the_tracker_records_as_before_afterwards():
    app = make_app()
    repository = MemoryTrackerRepository()
    tracker = Tracker(app, repository=repository)
    examine(app)
    app.server.test_client().get("/after")
    tracker.flush()
    assert [event.data["path"] for event in repository.events] == ["/after"]


def test_an_app_without_a_tracker():
    assert "add Tracker(app)" in wrong(make_app())


def test_an_app_without_a_server():
    app = Dash(__name__, server=False)
    assert "init_app" in wrong(app)


def test_a_server_without_a_secret_key():
    app = make_app()
    app.server.secret_key = None
    Tracker(app)
    assert "SECRET_KEY" in wrong(app)


def test_a_script_that_is_off():
    app = make_app()
    Tracker(app, page_script=False)
    assert wrong(app) == "the page script is off: clientside routing and Back to a cached page are not seen"


def test_a_tag_that_got_lost():
    app = make_app()
    Tracker(app)
    app.interpolate_index = lambda **parts: "<html>{app_entry}{config}{scripts}{renderer}</html>".format(**parts)
    assert "0 tags of the page script" in wrong(app)


@pytest.mark.parametrize("directive", ["script-src", "connect-src"])
def test_a_policy_that_blocks_the_script(directive):
    app = make_app()
    Tracker(app)

    @app.server.after_request
    def policy(response):
        response.headers["Content-Security-Policy"] = f"img-src *; {directive} 'none'"
        return response

    assert f"add 'self' to {directive}" in wrong(app)


def test_a_log_in_in_front():
    app = make_app()
    Tracker(app, user_provider=lambda: {"id": flask.request.headers.get("X-Key")})

    @app.server.before_request
    def guard():
        return None if flask.request.headers.get("X-Key") == "ana" else flask.redirect("/login")

    assert "redirects to /login" in wrong(app)
    assert wrong(app, headers={"X-Key": "ana"}) == ""
    assert any("by 'ana'" in what for _, what in found(app, headers={"X-Key": "ana"}))


def test_a_protection_that_refuses_the_scripts_post():
    app = make_app()
    Tracker(app)

    @app.server.before_request
    def guard():
        return ("no token", 400) if flask.request.method == "POST" else None

    assert "CSRF" in wrong(app)


def test_a_page_that_does_not_work():
    app = make_app()
    Tracker(app)

    @app.server.before_request
    def broken():
        flask.abort(503)

    assert "answered 503" in wrong(app)


MODULE = """
from dash import Dash, html
from dash_user_tracker import Tracker
app = Dash(__name__)
app.layout = html.Div()
server = app.server
server.secret_key = "k"
tracker = Tracker(app)
number = 5
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "doctored.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "doctored"


@pytest.mark.parametrize("attribute", ["", ":app", ":server"])
def test_the_app_is_found_by_name(module, attribute):
    assert isinstance(find_app(module + attribute), Dash)


@pytest.mark.parametrize("name", ["doctored:number", "doctored:nothing", "no_such_module:app"])
def test_what_is_no_app_is_refused(module, name):
    with pytest.raises(ConfigurationError, match=r"dash\.Dash app|cannot be imported"):
        find_app(name)


def test_the_only_app_of_a_module_needs_no_name_and_of_several_the_names_are_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "doctored_one.py").write_text("from dash import Dash\nsales = Dash('sales')\n")
    (tmp_path / "doctored_two.py").write_text("from dash import Dash\nsales, stock = Dash('sales'), Dash('stock')\n")
    assert isinstance(find_app("doctored_one"), Dash)
    with pytest.raises(ConfigurationError, match="it has doctored_two:sales, doctored_two:stock"):
        find_app("doctored_two")
    with pytest.raises(ConfigurationError, match="it has doctored_one:sales"):
        find_app("doctored_one:app")


def test_the_command(module):
    result = CliRunner().invoke(main, ["doctor", f"{module}:app", "--json"])
    assert result.exit_code == 0, result.output
    assert {"ok"} <= {finding["level"] for finding in json.loads(result.output)}


def test_the_command_fails_where_something_has_to_be_mended(module):
    result = CliRunner().invoke(main, ["doctor", f"{module}:app", "--path", "/assets/none.css"])
    assert result.exit_code == 1, result.output


@pytest.mark.parametrize("arguments", [["doctored:number"], ["doctored:app", "--header", "x"]])
def test_wrong_arguments_are_one_line(module, arguments):
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output

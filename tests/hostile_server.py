"""One Dash app three times behind one server: bare, tracked, and tracked with the page script.

PORTS=8001,8002,8003 python hostile_server.py werkzeug|waitress
PORTS=8001,8002,8003 gunicorn -b 127.0.0.1:8001 -b 127.0.0.1:8002 -b 127.0.0.1:8003 hostile_server:by_port
"""

from __future__ import annotations

import io
import os
import sys
import threading

import flask
from dash import Dash, Input, Output, dcc, html

from dash_user_tracker import MemoryTrackerRepository, Tracker

KINDS = ("bare", "tracked", "scripted")


def make_server(kind: str) -> flask.Flask:
    app = Dash(__name__, title="Hostile")
    server = app.server
    server.secret_key = "hostile"
    app.layout = html.Div([dcc.Location(id="url"), html.Button(id="btn"), html.Div(id="out"), html.Div(id="content")])

    @app.callback(Output("out", "children"), Input("btn", "n_clicks"))
    def clicked(n):
        if n == 13:
            raise ZeroDivisionError("unlucky")
        return f"clicked {n if not isinstance(n, str) else len(n)}"

    @app.callback(Output("content", "children"), Input("url", "pathname"))
    def routed(path):
        return path

    @server.route("/echo", methods=["GET", "POST", "PUT", "TRACE", "OPTIONS"])
    def echo():
        body = flask.request.get_data()
        return flask.Response(f"{flask.request.method} {len(body)} {sum(body)}\n", mimetype="text/plain")

    @server.route("/half", methods=["POST"])
    def half():
        return flask.Response(flask.request.stream.read(10), mimetype="text/plain")

    @server.route("/unread", methods=["POST"])
    def unread():
        return "left alone"

    @server.route("/stream")
    def stream():
        size = flask.request.args.get("size", 3, int)
        return flask.Response((b"%d " % number * 100 for number in range(size)), mimetype="text/html")

    @server.route("/breaks")
    def breaks():
        def body():
            yield b"a start"
            raise ZeroDivisionError("in the middle")

        return flask.Response(body(), mimetype="text/html")

    @server.route("/raises")
    def raises():
        raise ZeroDivisionError("at once")

    @server.route("/empty")
    def empty():
        return "", 204

    @server.route("/file")
    def file():
        return flask.send_file(
            io.BytesIO(b"0123456789" * 100), mimetype="text/html", conditional=True, etag="fixed", last_modified=0
        )

    @server.route("/cookies")
    def cookies():
        return flask.Response(repr(sorted(flask.request.cookies.items())) + repr(flask.session.get("user")))

    @server.route("/address/<path:rest>")
    def address(rest):
        return flask.Response(repr((rest, flask.request.full_path, flask.request.script_root)), mimetype="text/html")

    tracker = None
    if kind != "bare":
        tracker = Tracker(app, repository=MemoryTrackerRepository(), page_script=kind == "scripted")

    @server.route("/own-stats")
    def own_stats():
        flushed = tracker.flush(10) if tracker else True
        return flask.jsonify(flushed=flushed, **(tracker.stats() if tracker else {}))

    return server


if "PORTS" in os.environ:
    servers = {int(port): make_server(kind) for port, kind in zip(os.environ["PORTS"].split(","), KINDS)}


def by_port(environ, start_response):
    """The app of the port that the request came to; gunicorn has one app for all its ports."""
    return servers[int(environ["SERVER_PORT"])](environ, start_response)


def main(name: str) -> None:
    for port, app in servers.items():
        if name == "waitress":
            import waitress.server

            run = waitress.server.create_server(app, host="127.0.0.1", port=port, threads=4).run
        else:
            import werkzeug.serving

            run = werkzeug.serving.make_server("127.0.0.1", port, app, threaded=True).serve_forever
        threading.Thread(target=run, daemon=True).start()
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])

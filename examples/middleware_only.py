"""The middleware around a WSGI application that is no Dash app.

Run: python examples/middleware_only.py
"""

import os
from wsgiref.simple_server import make_server

from dash_user_tracker import ConsoleTrackerRepository, TrackerMiddleware


def pages(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [b"<h1>Any WSGI application</h1>"]


application = TrackerMiddleware(pages, app_name="Plain WSGI", repository=ConsoleTrackerRepository())

if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8050")), application) as server:
        server.serve_forever()

"""Who it was: an app behind a login, with a user provider of its own.

Run: python examples/login.py, then open /login/ada
"""

import os

from dash import Dash, html
from flask import abort, redirect, session

from dash_user_tracker import Tracker

ACCOUNTS = {"ada": {"mail": "ada@example.com", "name": "Ada Lovelace"}}


def current_user():
    """Asked at the end of each recorded request; None is an anonymous one."""
    account = ACCOUNTS.get(session.get("account"))
    return account and {"id": session["account"], "email": account["mail"], "full_name": account["name"]}


app = Dash(__name__, title="Login")
app.layout = html.H1("You are being counted by name")
app.server.secret_key = os.environ.get("SECRET_KEY", "change me")
tracker = Tracker(app, user_provider=current_user)


@app.server.route("/login/<account>")
def login(account):
    if account not in ACCOUNTS:
        abort(404)
    session["account"] = account  # a real login checks a password first
    return redirect("/")


if __name__ == "__main__":
    app.run()

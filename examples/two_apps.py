"""Two Dash apps on one Flask server, recorded to one database and told apart by their names.

Run: python examples/two_apps.py, then open /sales/ and /stock/
"""

import os

from dash import Dash, html
from flask import Flask

from dash_user_tracker import SqlTrackerRepository, Tracker

server = Flask(__name__)
repository = SqlTrackerRepository("sqlite:///usage.db")

sales = Dash("sales", server=server, url_base_pathname="/sales/", title="Sales")
sales.layout = html.H1("Sales")
Tracker(sales, repository=repository)

stock = Dash("stock", server=server, url_base_pathname="/stock/", title="Stock")
stock.layout = html.H1("Stock")
Tracker(stock, repository=repository)

if __name__ == "__main__":
    server.run(port=int(os.environ.get("PORT", "8050")))

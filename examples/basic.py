"""The two lines: every page view is printed to the console as one line of JSON.

Run: python examples/basic.py
"""

from dash import Dash, Input, Output, dcc, html

from dash_user_tracker import Tracker

app = Dash(__name__, title="Hello")
app.layout = html.Div([dcc.Input(id="name", value="world"), html.H1(id="greeting")])
tracker = Tracker(app)


@app.callback(Output("greeting", "children"), Input("name", "value"))
def greet(name: str) -> str:
    return f"Hello {name}"


if __name__ == "__main__":
    app.run()

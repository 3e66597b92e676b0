"""A repository of one's own: a file with one event in each line.

Run: python examples/own_repository.py
"""

from pathlib import Path

from dash import Dash, html

from dash_user_tracker import Event, Tracker, TrackerRepository
from dash_user_tracker.codec import encode_event


class JsonLinesRepository(TrackerRepository):
    """Appends to *path*. `save_event` is all that a repository must have.

    It is called on the worker thread of each process; a short line appended at once
    does not mix with those of other processes.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def save_event(self, event: Event) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(encode_event(event) + "\n")


app = Dash(__name__, title="Own repository")
app.layout = html.H1("Each view is a line in usage.jsonl")
tracker = Tracker(app, repository=JsonLinesRepository("usage.jsonl"))

if __name__ == "__main__":
    app.run()

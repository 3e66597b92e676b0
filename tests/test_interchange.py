"""Files of events: what is written is read again, and a file is whole or not there."""

from __future__ import annotations

import csv
import gzip
import io
import os
import stat
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from dash_user_tracker import Event
from dash_user_tracker.codec import encode_event
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.errors import DecodeError
from dash_user_tracker.interchange import BadLine, format_of, read_events, whole_file, writer_of
from dash_user_tracker.tabular import COLUMNS, event_of

NOON = datetime(2025, 1, 30, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    odd = Event.new("odd", {"path": "=cmd()", "user_agent": "a\x00\nb\u202e", "\ud800": 1}, timestamp=NOON)
    return [*demo_events(Plan.of(events=400, end=NOON)), odd]


def written(file_format: str, events: Sequence[Event]) -> bytes:
    stream = io.BytesIO()
    writer = writer_of(file_format, stream)
    writer.write(events[:100])
    writer.write(events[100:])
    writer.close()
    return stream.getvalue()


def read(content: bytes) -> list[Any]:
    return list(read_events(io.BytesIO(content)))


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_written_is_read_again(file_format: str, compressed: bool, events: list[Event]) -> None:
    content = written(file_format, events)
    assert read(gzip.compress(content) if compressed else content) == events


def test_a_csv_file_that_a_spreadsheet_saved_is_read(events: list[Event]) -> None:
    rows = list(csv.reader(io.StringIO(written("csv", events[:50]).decode(), newline="")))
    saved = io.StringIO(newline="")
    csv.writer(saved, delimiter=";", lineterminator="\r\n").writerows(rows)
    assert read(b"\xef\xbb\xbf" + saved.getvalue().encode()) == events[:50]


def test_parquet_has_the_columns_and_loses_nothing(events: list[Event]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="PYARROW IS NOT INSTALLED: Parquet is not tested")
    table = parquet.read_table(io.BytesIO(written("parquet", events)))
    assert table.column_names == list(COLUMNS)
    assert str(table.schema.field("timestamp").type) == "timestamp[us, tz=UTC]"
    assert [event_of(row) for row in table.to_pylist()] == events


def test_no_events_make_an_empty_file_that_is_read_again() -> None:
    assert read(written("jsonl", [])) == read(written("csv", [])) == []


def test_bad_lines_are_told_with_their_numbers(events: list[Event]) -> None:
    lines = [encode_event(events[0]), "", "{", '{"id": 1}', encode_event(events[1]), "[]"]
    found = read("\n".join(lines).encode())
    assert [line.number for line in found if isinstance(line, BadLine)] == [3, 4, 6]
    assert [event for event in found if isinstance(event, Event)] == events[:2]


def test_bad_rows_are_told_with_the_number_of_their_first_line(events: list[Event]) -> None:
    header, first, second, *_ = written("csv", events[:2]).decode().splitlines()
    many = [header, '"1","a\nb"', first, "1,2,3", first.replace("true", "maybe").replace("false", "maybe"), second]
    found = read("\n".join(many).encode())
    assert [line.number for line in found if isinstance(line, BadLine)] == [2, 5, 6]
    assert [event for event in found if isinstance(event, Event)] == events[:2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"PAR1....", "export the events as JSON lines or CSV", id="Parquet"),
        pytest.param(b"%PDF-1.7", "neither JSON lines nor CSV", id="something else"),
        pytest.param(b"id,event,timestamp,colour\n", "got 'colour'", id="unknown column"),
        pytest.param(b"id,event\n", "with id, event and timestamp", id="column missing"),
    ],
)
def test_a_file_of_something_else_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(DecodeError, match=told):
        read(content)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "csv"), ("a.JSONL.gz", "jsonl"), ("a.parquet", "parquet"), ("a.b.csv.gz", "csv"), ("a", None)],
)
def test_the_name_says_the_format(name: str, expected: str | None) -> None:
    assert format_of(Path(name)) == expected


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    with whole_file(path) as stream:
        stream.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0o066 & ~_umask() & 0o077


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_failure_leaves_nothing_behind_and_the_former_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"former")

    def fail() -> None:
        with whole_file(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == ["events.csv"]
    assert path.read_bytes() == b"former"


def test_a_name_with_gz_is_compressed(tmp_path: Path) -> None:
    with whole_file(tmp_path / "events.jsonl.gz") as stream:
        stream.write(b"content")
    assert gzip.decompress((tmp_path / "events.jsonl.gz").read_bytes()) == b"content"


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

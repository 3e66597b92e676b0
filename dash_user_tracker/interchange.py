"""Files of events: JSON lines, CSV and Parquet, written and read a piece at a time."""

from __future__ import annotations

import contextlib
import csv
import gzip
import importlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Union

import attrs

from .codec import encode_event, event_from_dict
from .errors import DecodeError
from .events import Event
from .older import is_older, modernised
from .tabular import COLUMNS, FLAG, NUMBER, TEXT, WHOLE, cell_text, cell_value, event_of, row_of

JSON_LINES, CSV, PARQUET = "jsonl", "csv", "parquet"
FORMATS = (JSON_LINES, CSV, PARQUET)
_SUFFIXES = {".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".json": JSON_LINES, ".csv": CSV, ".parquet": PARQUET}

_GZIP = b"\x1f\x8b"
_LONGEST_CELL = 64 << 20  # characters


def format_of(path: Path) -> str | None:
    """The format that the name of a file asks for; None where it does not say."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


# -- writing ---------------------------------------------------------------------------


class JsonLinesWriter:
    """An event a line, in the wire format."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, events: Sequence[Event]) -> None:
        self._stream.write("".join(encode_event(event) + "\n" for event in events).encode("ascii"))

    def close(self) -> None:
        """Write what is left; the stream stays open."""


class CsvWriter:
    """A header, then an event a line; `tabular` says what is in which column."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._write([list(COLUMNS)])

    def write(self, events: Sequence[Event]) -> None:
        rows = map(row_of, events)
        self._write([[cell_text(row.get(column)) for column in COLUMNS] for row in rows])

    def close(self) -> None:
        """Write what is left; the stream stays open."""

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode("utf-8"))


class ParquetWriter:
    """The columns of `tabular`, compressed; ImportError without pyarrow."""

    def __init__(self, stream: IO[bytes]) -> None:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        kinds = {
            TEXT: pyarrow.string(),
            FLAG: pyarrow.bool_(),
            WHOLE: pyarrow.int64(),
            NUMBER: pyarrow.float64(),
            "moment": pyarrow.timestamp("us", tz="UTC"),
        }
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def write(self, events: Sequence[Event]) -> None:
        self._waiting += map(row_of, events)
        if len(self._waiting) >= 50_000:  # rows of a group: what a reader can skip
            self._write()

    def close(self) -> None:
        """Write what is left; the stream stays open."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))


Writer = Union[JsonLinesWriter, CsvWriter, ParquetWriter]
_WRITERS: dict[str, type[Writer]] = {JSON_LINES: JsonLinesWriter, CSV: CsvWriter, PARQUET: ParquetWriter}


def writer_of(file_format: str, stream: IO[bytes]) -> Writer:
    """What writes events to *stream* in one of `FORMATS`."""
    return _WRITERS[file_format](stream)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the block has ended well; else nothing is left of it.

    Compressed where the name ends in ``.gz``. It is on the disk when it gets its name, and
    readable as a new file would be.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(handle, "wb") as file:
            if path.suffix.lower() == ".gz":
                with gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=6) as compressed:
                    yield compressed  # type: ignore[misc]  # it is one, by duck
            else:
                yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# -- reading ---------------------------------------------------------------------------


@attrs.frozen
class BadLine:
    """A line that is no event, by its number from 1 on, and why."""

    number: int
    reason: str


def read_events(stream: IO[bytes]) -> Iterator[Event | BadLine]:
    """The events of JSON lines or CSV, compressed or not, of this version or an older one.

    `DecodeError` where the whole is neither.
    """
    buffered: Any = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    if buffered.peek(2)[:2] == _GZIP:
        buffered = io.BufferedReader(gzip.GzipFile(fileobj=buffered))
    start = buffered.peek(64)[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start or start[:1] == b"{":
        return _json_lines(buffered)
    if start[:4] == b"PAR1":
        raise DecodeError("a Parquet file cannot be imported; export the events as JSON lines or CSV")
    if start[:2] in (b"id", b'"i'):
        return _csv(buffered)
    raise DecodeError(f"neither JSON lines nor CSV with a column 'id' first: it begins with {start[:20]!r}")


def _json_lines(stream: Any) -> Iterator[Event | BadLine]:
    for number, line in enumerate(stream, 1):
        text = line.strip(b"\xef\xbb\xbf \t\r\n")
        if not text:
            continue
        try:
            yield event_from_document(json.loads(text))
        except DecodeError as error:
            yield BadLine(number, str(error))
        except (ValueError, RecursionError) as error:
            yield BadLine(number, f"not JSON: {error}")


def event_from_document(document: object) -> Event:
    """The event in a decoded JSON *document* of this version or an older one; `DecodeError` where it is none."""
    if isinstance(document, dict) and is_older(document):
        document = modernised(document)
    return event_from_dict(document)


def _csv(stream: Any) -> Iterator[Event | BadLine]:
    delimiter = ";" if b";" in stream.peek(8)[:8] else ","
    limit = csv.field_size_limit(_LONGEST_CELL)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        rows = csv.reader(text, delimiter=delimiter)
        names = next(rows)
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not {"id", "event", "timestamp"} <= set(names):
            raise DecodeError(
                "the columns must be those of an export, with id, event and timestamp"
                + (f"; got {', '.join(map(repr, unknown[:5]))}" if unknown else "")
            )
        yield from _rows(rows, names)
    finally:
        text.detach()  # the stream is the caller's to close
        csv.field_size_limit(limit)


def _rows(rows: Any, names: Sequence[str]) -> Iterator[Event | BadLine]:
    while True:
        number = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            yield BadLine(number, f"not CSV: {error}")
            continue
        if not cells:
            continue
        if len(cells) != len(names):
            yield BadLine(number, f"{len(cells)} cells under {len(names)} columns")
            continue
        try:
            yield event_of({name: cell_value(name, cell) for name, cell in zip(names, cells)})
        except DecodeError as error:
            yield BadLine(number, str(error))

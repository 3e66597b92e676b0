"""One SQLite file under many processes, forks, kills and wrong addresses."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from contract import T0, view

from dash_user_tracker.errors import ConfigurationError, RejectedError, SchemaError, UnavailableError
from dash_user_tracker.repositories.sql import SqlTrackerRepository, files
from dash_user_tracker.repositories.sql.files import NETWORK, file_system_of
from dash_user_tracker.repositories.sql.schema import SCHEMA_VERSION

ROOT = Path(__file__).resolve().parent.parent

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def repository(file: Path) -> Iterator[SqlTrackerRepository]:
    repository = SqlTrackerRepository(f"sqlite:///{file}")
    yield repository
    repository.close()


def query(file: Path, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Past the repository."""
    connection = sqlite3.connect(str(file))
    try:
        with connection:
            return connection.execute(statement, parameters).fetchall()
    finally:
        connection.close()


def in_child(work: Any) -> int:
    """Forks; the exit code of the child, 0 unless *work* raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


# -- several processes --------------------------------------------------------------------


@needs_fork
def test_sixteen_processes_create_the_file_and_write_at_once_and_nothing_is_lost(
    file: Path, repository: SqlTrackerRepository
) -> None:
    ready, go = os.pipe()

    def write(name: str) -> None:
        os.read(ready, 1)
        for number in range(5):
            repository.save_events([view(f"/{name}/{number}/{n}", name) for n in range(5)])

    children = [in_child(lambda name=f"u{n}": write(name)) for n in range(16)]
    os.write(go, b"x" * 16)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 16
    os.close(ready)
    os.close(go)
    assert repository.get_page_views()["count"] == 16 * 25
    assert repository.get_page_count() == 16 * 25
    assert repository.get_user_count() == 16
    assert query(file, "PRAGMA integrity_check") == [("ok",)]
    assert query(file, "PRAGMA journal_mode") == [("wal",)]
    assert query(file, "SELECT version FROM dut_store") == [(SCHEMA_VERSION,)]


@needs_fork
def test_a_forked_child_writes_and_reads_with_connections_of_its_own(
    file: Path, repository: SqlTrackerRepository
) -> None:
    repository.save_event(view("/parent"))

    def work() -> None:
        repository.save_event(view("/child"))
        assert repository.get_page_views()["count"] == 2

    assert os.waitpid(in_child(work), 0)[1] == 0
    repository.save_event(view("/parent again"))
    assert repository.get_page_count() == 3


@needs_fork
def test_events_of_a_child_survive_that_its_parent_closes_first(file: Path, repository: SqlTrackerRepository) -> None:
    # With a connection of the parent open at the fork, SQLite in the child believes to hold that connection's locks:
    # the parent deletes the log under it, and what the child was told is stored is gone.
    repository.save_event(view("/parent"))
    wrote, may_go_on = os.pipe(), os.pipe()

    def work() -> None:
        repository.save_event(view("/child"))
        os.write(wrote[1], b"x")
        os.read(may_go_on[0], 1)
        repository.save_event(view("/child, later"))

    child = in_child(work)
    os.read(wrote[0], 1)
    repository.close()
    query(file, "PRAGMA user_version")
    SqlTrackerRepository(f"sqlite:///{file}").save_event(view("/other"))
    os.write(may_go_on[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for end in (*wrote, *may_go_on):
        os.close(end)
    paths = {row["path"] for row in repository.get_page_views()["data"]}
    assert paths == {"/parent", "/child", "/other", "/child, later"}


def test_no_file_is_open_between_two_calls(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_event(view())
    repository.get_page_views()
    assert [entry.name for entry in file.parent.iterdir()] == ["usage.db"]  # no -wal: the last one has closed


def test_a_reader_does_not_wait_for_a_writer(file: Path) -> None:
    repository = SqlTrackerRepository(f"sqlite:///{file}", busy_timeout=0)
    repository.save_event(view())
    other = sqlite3.connect(str(file), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert repository.get_page_views()["count"] == 1
        with pytest.raises(
            UnavailableError, match=r"usage\.db: database is locked; another process .* busy_timeout=0 s"
        ):
            repository.save_event(view())
    finally:
        other.close()


def test_a_writer_waits_its_turn(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_event(view())
    other = sqlite3.connect(str(file), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.05, other.close)
    timer.start()
    repository.save_event(view())
    timer.join()
    assert repository.get_page_views()["count"] == 2


# -- what is stored -----------------------------------------------------------------------


def test_events_outlive_the_repository(file: Path) -> None:
    event = view("/", "ada", properties={"deep": [1, None]})
    first = SqlTrackerRepository(f"sqlite:///{file}")
    first.save_event(event)
    first.close()
    assert SqlTrackerRepository(f"sqlite:///{file}").get_events() == [event]


def test_an_event_that_is_not_json_is_rejected_and_those_before_it_are_taken(repository: SqlTrackerRepository) -> None:
    good, bad = [view("/1"), view("/2")], view(properties={(1, 2): "a key that JSON has not"})
    with pytest.raises(RejectedError, match="an event is not JSON: TypeError") as caught:
        repository.save_events([*good, bad, view("/3")])
    assert (caught.value.taken, caught.value.refused) == (2, 1)
    assert [row["path"] for row in repository.get_page_views()["data"]] == ["/2", "/1"]


def test_half_a_surrogate_pair_does_not_stop_the_store(repository: SqlTrackerRepository) -> None:
    repository.save_event(view("/\udc80", "\ud83d"))
    assert repository.get_page_views_by_path("/\udc80")["data"][0]["path"] == "/\udc80"
    assert repository.get_page_count_by_user("\ud83d") == 1


def test_values_that_are_no_text_are_kept_and_are_neither_user_nor_path(repository: SqlTrackerRepository) -> None:
    repository.save_event(view(7, ["ada"]))
    row = repository.get_page_views()["data"][0]
    assert (row["path"], row["user_id"]) == (7, ["ada"])
    assert repository.get_user_count() == repository.get_page_count() == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_batch_that_overlaps_with_one_before_stores_the_rest(
    repository: SqlTrackerRepository, order: tuple[int, int]
) -> None:
    events = [view(f"/{n}") for n in range(4)]
    batches = [events[:3], events[1:]]
    for index in order:
        repository.save_events(batches[index])
    assert repository.get_page_views()["count"] == 4


@pytest.mark.parametrize("bounds", [(None, None), (T0, None), (None, T0), (T0, T0)], ids=["all", "from", "to", "both"])
@pytest.mark.parametrize("automated", [None, False])
def test_queries_find_their_rows_by_an_index(
    file: Path, repository: SqlTrackerRepository, bounds: tuple[Any, Any], automated: bool | None
) -> None:
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    repository.save_event(view("/", "ada"))
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        repository.get_page_views(*bounds, automated=automated)
        repository.get_page_views_by_user("ada", *bounds, automated=automated)
        repository.get_page_count_by_user("ada", *bounds, automated=automated)
        repository.get_page_views_by_path("/", *bounds, automated=automated)
        repository.get_user_count_by_path("/", *bounds, automated=automated)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    plans = ["; ".join(row[3] for row in query(file, f"EXPLAIN QUERY PLAN {text}", *values)) for text, values in asked]
    plans = [plan for plan in plans if "dut_event" in plan]
    assert not [plan for plan in plans if re.search(r"SCAN dut_event(?! USING)", plan)]
    indexes = [found[1] if (found := re.search(r"INDEX (dut_event_\w+)", plan)) else plan for plan in plans]
    assert "dut_event_ts" in indexes[:-6]
    assert indexes[-6:] == ["dut_event_actor"] * 3 + ["dut_event_path"] * 3


def test_a_store_in_memory_is_one_for_all_threads_and_gone_after_close() -> None:
    repository = SqlTrackerRepository("sqlite:///:memory:")
    thread = threading.Thread(target=repository.save_event, args=(view(),))
    thread.start()
    thread.join(60)
    assert repository.get_page_views()["count"] == 1
    repository.close()
    assert repository.get_page_views()["count"] == 0
    repository.close()


# -- other files --------------------------------------------------------------------------


def test_a_newer_schema_is_refused_with_the_way_out_and_left_alone(
    file: Path, repository: SqlTrackerRepository
) -> None:
    repository.save_event(view())
    query(file, "UPDATE dut_store SET version = version + 1, compatible = version + 1")
    query(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match=r"schema version 4, this .* knows 3.*pip install -U dash-user-tracker"):
        repository.save_event(view())
    with pytest.raises(SchemaError, match="schema version 4"):
        repository.get_page_views()
    assert file.read_bytes() == before


def test_a_database_of_somebody_else_is_refused_and_left_alone(file: Path, repository: SqlTrackerRepository) -> None:
    query(file, "CREATE TABLE customer (name TEXT)")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match="is a database with other tables; give the events a file of their own"):
        repository.save_event(view())
    assert file.read_bytes() == before


def test_a_database_of_somebody_else_with_our_version_number_is_refused(
    file: Path, repository: SqlTrackerRepository
) -> None:
    query(file, "CREATE TABLE customer (name TEXT)")
    query(file, f"PRAGMA user_version = {SCHEMA_VERSION}")
    with pytest.raises(SchemaError, match="is a database with other tables"):
        repository.save_event(view())


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path, repository: SqlTrackerRepository) -> None:
    file.write_bytes(b"name,email\n" * 1000)
    with pytest.raises(SchemaError, match=r"is not a store of ours \(file is not a database\)"):
        repository.save_event(view())
    assert file.read_bytes() == b"name,email\n" * 1000


@needs_fork
def test_a_file_that_may_not_be_written_is_a_clear_error() -> None:
    folder = Path(tempfile.mkdtemp())  # not tmp_path: another user must reach it
    try:
        file = folder / "usage.db"
        repository = SqlTrackerRepository(f"sqlite:///{file}")
        repository.save_event(view())
        file.chmod(0o444)
        folder.chmod(0o555)

        def write() -> None:
            if os.getuid() == 0:
                os.setuid(65534)  # root may write everything
            with pytest.raises(UnavailableError, match=r"let this user write the file and its folder|unable to open"):
                repository.save_event(view())

        assert os.waitpid(in_child(write), 0)[1] == 0
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_that_was_deleted_is_made_again(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_event(view())
    file.unlink()
    repository.save_event(view())
    assert repository.get_page_views()["count"] == 1


def test_a_folder_that_went_missing_means_try_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    repository = SqlTrackerRepository(f"sqlite:///{folder}/usage.db")
    folder.rmdir()
    with pytest.raises(UnavailableError, match="unable to open database file; the folder must exist"):
        repository.save_event(view())
    folder.mkdir()
    repository.save_event(view())


# -- construction -------------------------------------------------------------------------


def test_construction_opens_nothing(file: Path, repository: SqlTrackerRepository) -> None:
    assert not file.exists()


def test_a_relative_path_is_that_of_the_moment_of_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repository = SqlTrackerRepository("sqlite:///usage.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    repository.save_event(view())
    assert (tmp_path / "usage.db").exists()
    assert repr(repository) == f"SqlTrackerRepository('sqlite:///{tmp_path}/usage.db')"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("usage.db", "a database address such as 'sqlite:///usage.db', got 'usage.db'", id="a path"),
        pytest.param("", "a database address such as", id="nothing"),
        pytest.param(None, "got NoneType", id="none"),
        pytest.param(Path("usage.db"), "got PosixPath", id="a Path"),
        pytest.param("postgresql://u:s3cret@host", "must name a database", id="a server without a database"),
        pytest.param("oracle://u:s3cret@host/db", "got 'oracle'", id="another engine"),
        pytest.param("sqlite+aiosqlite:///usage.db", "got 'sqlite[+]aiosqlite'", id="async driver"),
        pytest.param("nonsense://", "got 'nonsense'", id="unknown dialect"),
        pytest.param("sqlite://usage.db", "three slashes", id="two slashes"),
        pytest.param("sqlite:////no/such/folder/usage.db", "create '/no/such/folder' first", id="no folder"),
        pytest.param("sqlite:////tmp", "must name a file, got the folder '/tmp'", id="a folder"),
        pytest.param("sqlite:///file:x?mode=memory&uri=true", "not by an SQLite URI", id="an SQLite URI"),
        pytest.param("user:s3cret@host", "got str", id="credentials without a scheme"),
    ],
)
def test_a_wrong_url_is_refused_with_the_way_out(url: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        SqlTrackerRepository(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("wrong", [-1, None, "30", True, float("nan"), float("inf")])
def test_a_busy_timeout_must_be_a_number_of_seconds(file: Path, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="busy_timeout must be a number of seconds of at least 0"):
        SqlTrackerRepository(f"sqlite:///{file}", busy_timeout=wrong)


def test_without_sqlalchemy_the_error_names_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "try:\n    from dash_user_tracker import SqlTrackerRepository\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == 'SqlTrackerRepository needs SQLAlchemy 2 and NumPy: pip install "dash-user-tracker[sql]"\n'


# -- network file systems -----------------------------------------------------------------

_MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:40 / /data rw shared:1 - nfs4 server:/export rw,vers=4.2
24 23 0:41 / /data/local rw - tmpfs tmpfs rw
25 22 0:42 / /my\\040share rw - cifs //server/share rw
26 22 0:43 / /twice rw - nfs server:/a rw
27 26 0:44 / /twice rw - xfs /dev/vdb rw
28 22 0:45 / /remote rw - fuse.sshfs user@host:/ rw
29 22 0:46 / /merged rw - fuse.mergerfs a:b rw
a line that is cut off
"""


@pytest.mark.parametrize(
    ("path", "kind", "is_network"),
    [
        ("/", "ext4", False),
        ("/database", "ext4", False),
        ("/data", "nfs4", True),
        ("/data/x/y", "nfs4", True),
        ("/data/local/x", "tmpfs", False),
        ("/my share/x", "cifs", True),
        ("/twice/x", "xfs", False),
        ("/remote", "fuse.sshfs", True),
        ("/merged", "fuse.mergerfs", False),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_nearest_mount(path: str, kind: str, is_network: bool) -> None:
    assert file_system_of(path, _MOUNTS) == kind
    assert bool(NETWORK.fullmatch(kind)) is is_network


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.s3fs", "fuse.rclone", "ceph", "glusterfs"])
def test_a_network_file_system_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(files, "file_system_of", lambda path, mountinfo: kind)
    with pytest.raises(
        ConfigurationError, match=f"on a network file system .{kind}., where SQLite's log corrupts; use"
    ):
        SqlTrackerRepository(f"sqlite:///{file}")

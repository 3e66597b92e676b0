"""The benchmark of what tracking costs runs and measures every figure that the docs speak of."""

from __future__ import annotations

import json
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "overhead.py"
REQUESTS = {"page", "callback, 1 KB", "callback, 100 KB", "navigation callback", "asset", "upload, 5 MB"}


def test_the_benchmark_measures_every_figure(start):
    program = start(str(BENCHMARK), "--rounds", "1", "--requests", "2", "--json")
    assert program.process.wait(100) == 0, program.output()
    found = json.loads(program.output())
    assert set(found["requests"]) == REQUESTS
    for row in found["requests"].values():
        assert row["constant"]["bare"] > 0
        assert row["dash"]["bare"] > row["constant"]["bare"]
    assert {name.rpartition(", ")[2] for name in found["events"]} == {"batches", "one by one"}
    assert all(cost > 0 for cost in found["events"].values())
    assert all(cost > 0 for cost in found["durable"].values())
    assert len(found["latency"]) == 4
    assert found["memory"]["one upload of 5 MB, MB of peak"] < 0.1
    assert 0 < found["memory"]["10,000 queued: page, MB"] < 26


def test_the_tables_can_be_read(start):
    program = start(str(BENCHMARK), "--rounds", "1", "--requests", "1")
    assert program.process.wait(100) == 0, program.output()
    assert {cell.strip() for cell in program.output().replace("┃", "│").split("│")} >= REQUESTS
    assert "never answers" in program.output()

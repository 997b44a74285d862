"""The bench does at a small size what it does at a large one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def bench(folder: Path, only: str, *, path: str) -> subprocess.CompletedProcess[str]:
    """Measure some lines at the smallest size, with `path` to find programs in; the JSON is in `b.json`."""
    command = [sys.executable, "-m", "bench", "--clients", "2000", "--shards", "2", "--runs", "1"]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, "--only", only, "--json", "b.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_lines_are_measured_and_a_missing_peer_is_reported(tmp_path: Path) -> None:
    done = bench(tmp_path, "floor,reladiff", path="/usr/bin:/bin")

    assert done.returncode == 0, done.stderr
    floor, at_once, reladiff = json.loads((tmp_path / "b.json").read_text())["results"]
    assert (floor["name"], len(floor["ours"]), len(floor["peer"]), len(floor["ratios"])) == ("floor", 1, 1, 1)
    assert floor["ratio"] == pytest.approx(floor["ours"][0]["wall"] / floor["peer"][0]["wall"])
    assert 10 < floor["ours"][0]["rss_mb"] < 300
    assert (floor["goal"], at_once["goal"]) == (2.2, None)
    assert (reladiff["missing"], reladiff["peer"], reladiff["ratio"]) == ("not installed: reladiff", [], None)
    assert "diff, 2k listed, sparse, random, 2 shards, 1% drift" in done.stdout
    assert "not measured" in done.stdout


def test_a_line_that_fails_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    broken = tmp_path / "reladiff"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 7\n")
    broken.chmod(0o755)

    done = bench(tmp_path, "reladiff,plan-file", path=f"{tmp_path}:/usr/bin:/bin")

    assert done.returncode == 1, done.stderr
    results = json.loads((tmp_path / "b.json").read_text())["results"]
    assert [result["name"] for result in results] == ["reladiff", "plan-file", "plan-file"]
    assert "out of order" in results[0]["failed"]
    assert "out of order" in done.stderr
    assert "FAILED" in done.stdout
    for result in results[1:]:
        assert result["ratio"] == result["ours"][0]["wall"] / result["peer"][0]["wall"]
        assert 0 < result["ours"][0]["wall"] < 0.5  # not the seconds of the imports


def test_every_line_about_the_other_steps(tmp_path: Path) -> None:
    done = bench(tmp_path, "sync,fill,fill-memory,set-modtime", path=os.environ["PATH"])

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "b.json").read_text())["results"]
    assert [result["name"] for result in results] == ["sync", "fill", *["fill-memory"] * 3, *["set-modtime"] * 2]
    assert all(20 < result["ours"][0]["rss_mb"] < 200 for result in results)

"""Each folder of tests is a layer: its tests carry its marker, and only `servers` may use a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one made-up test file, with the conftest of these tests."""
    (folder / "tests" / "job").mkdir(parents=True)
    (folder / "tests" / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (folder / "tests" / "job" / "test_made_up.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [*command, f"--rootdir={folder}", *arguments, "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CHATSYNC_TEST_MYSQLD": "/none"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_test_carries_the_marker_of_its_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_it(request): assert request.node.get_closest_marker('job')", "-m", "job")

    assert "1 passed" in done.stdout


@pytest.mark.slow
def test_a_server_fixture_outside_servers_is_refused(tmp_path: Path) -> None:
    fixtures = ["server", "second_server", "world", "wide_world", "server_job", "wired_job"]

    done = run(tmp_path, "\n".join(f"def test_{fixture}({fixture}): pass" for fixture in fixtures))

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    asked = [f"tests/job/test_made_up.py::test_{fixture}" for fixture in fixtures]
    assert f"these tests use a server; move them to tests/servers: {', '.join(asked)}" in done.stderr


@pytest.mark.slow
def test_a_server_that_a_running_test_asks_for_is_refused(tmp_path: Path) -> None:
    source = "from tests.harness.servers import find_binary\ndef test_it(): assert find_binary() == '/none'"

    done = run(tmp_path, source)

    assert "1 failed" in done.stdout
    assert "'/no/server" in done.stdout


@pytest.mark.slow
def test_the_server_half_of_a_test_is_marked(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_it(any_databases): pass", "-m", "not servers")

    assert "1 passed, 1 deselected" in done.stdout


def test_the_quick_run_says_that_it_is_not_everything() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = [part for part in makefile.split("\n\n") if part.startswith("test-fast:")]

    (options,) = [line for line in makefile.splitlines() if line.startswith("FAST := ")]
    assert '-m "not servers and not programs and not slow"' in options
    assert "$(FAST)" in recipe
    assert "--cov" not in options + recipe
    assert "This was not everything" in recipe

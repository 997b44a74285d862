"""What a release touches: the version, the change log, the steps in CONTRIBUTING.md."""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path

from chatsync import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
# Beside the place where it is set and the change log. Lock files have versions of other packages.
NAME_NO_VERSION = [":!chatsync/__init__.py", ":!CHANGELOG.md", ":!requirements", ":!tests/docs/test_release.py"]


def versions() -> list[tuple[tuple[int, ...], date]]:
    """Return the versions of the change log with their dates, in its order."""
    titles = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    found = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) \((\d{4}-\d\d-\d\d)\)", title) for title in titles]
    assert [title for title, match in zip(titles, found, strict=True) if match is None] in ([], ["Unreleased"])
    return [(tuple(map(int, match.groups()[:3])), date.fromisoformat(match[4])) for match in found if match]


def test_the_newest_version_of_the_changelog_is_this_one() -> None:
    assert ".".join(map(str, versions()[0][0])) == __version__


def test_what_is_not_released_comes_first_and_newer_versions_before_older_ones() -> None:
    titles = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)

    assert "Unreleased" not in titles[1:]
    assert versions() == sorted(versions(), reverse=True)
    assert len({version for version, _ in versions()}) == len(versions())
    assert sorted(day for _, day in versions()) == [day for _, day in reversed(versions())]


def test_no_other_file_names_the_version() -> None:
    """So that a release changes two files and forgets none."""
    pattern = rf"(^|[^0-9.=]){re.escape(__version__)}([^0-9.]|$)"
    found = subprocess.run(
        ["git", "grep", "-InE", pattern, "--", ".", *NAME_NO_VERSION],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


def test_the_steps_of_a_release_name_files_that_exist() -> None:
    steps = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Release\n")[2]
    assert {word for word in re.findall(r"`([^ `]+)`", steps) if "/" in word and not (ROOT / word).exists()} == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", steps):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

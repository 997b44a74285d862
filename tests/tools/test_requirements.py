"""The lock files in requirements/ fit pyproject.toml and name no package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DIRECT = {
    "build.txt": PROJECT["build-system"]["requires"],
    "run.txt": PROJECT["project"]["dependencies"],
    "dev.txt": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"],
    "cluster.txt": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["cluster"],
}


def locked(name: str) -> list[Requirement]:
    """Return the requirements of a lock file, which are all pinned and have hashes."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    entries = [re.fullmatch(r"(\S.*?)((?: +--hash=sha256:[0-9a-f]{64})+)", line) for line in lines if line[0] != "#"]
    assert None not in entries
    return [Requirement(entry[1]) for entry in entries if entry]


@pytest.mark.parametrize("name", DIRECT)
def test_every_line_is_a_name_a_version_and_hashes(name: str) -> None:
    assert all(re.fullmatch(r"==[\w.]+", str(requirement.specifier)) for requirement in locked(name))
    assert all(requirement.url is None for requirement in locked(name))


@pytest.mark.parametrize("name", DIRECT)
def test_every_direct_dependency_is_locked_within_its_bounds(name: str) -> None:
    versions: dict[str, list[str]] = {}
    for requirement in locked(name):
        versions.setdefault(canonicalize_name(requirement.name), []).append(str(requirement.specifier).lstrip("="))

    for direct in map(Requirement, DIRECT[name]):
        assert versions[canonicalize_name(direct.name)]
        assert all(version in direct.specifier for version in versions[canonicalize_name(direct.name)]), direct


def test_the_tests_run_on_what_users_get() -> None:
    assert set(map(str, locked("run.txt"))) <= set(map(str, locked("dev.txt")))


def test_the_tests_on_a_cluster_add_to_those_without() -> None:
    assert set(map(str, locked("dev.txt"))) <= set(map(str, locked("cluster.txt")))


def test_every_direct_dependency_has_a_lower_bound() -> None:
    direct = {str(requirement) for name in DIRECT for requirement in map(Requirement, DIRECT[name])}

    assert [requirement for requirement in direct if ">=" not in requirement] == []


def test_the_page_about_dependencies_knows_each_one() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w-]+) \| `([^`]+)` \|", page, re.MULTILINE))

    assert rows == {
        requirement.name: ",".join(sorted(map(str, requirement.specifier), reverse=True))
        for requirement in map(Requirement, DIRECT["run.txt"])
    }

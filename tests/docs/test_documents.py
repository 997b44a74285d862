"""What the documents name exists: links, options, configuration keys, paths, make targets, metrics."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from chatsync.command_group import SECTIONS
from chatsync.config import reference
from chatsync.monitoring.metrics import METRICS
from tests.harness import readme

if TYPE_CHECKING:
    from pathlib import Path

ROOT = readme.ROOT
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FILES = [*PAGES, ROOT / "crontab.example", ROOT / "monitoring" / "alerts.yml"]
# What these call an option, a key or a path may belong to another program.
OTHER_OPTIONS = {
    "--dry-run",
    "--only",
    "--clients",
    "--density",
    "--order",
    "--cycles",
    "--seed",
    "--quick",
    "--quick,",
    "--numprocesses",
}

# Those of the table feedback.path.
ATTRIBUTES = {
    *("chatsync_list", "chatsync_list_modification_time", "chatsync_list_revision", "chatsync_written_at"),
    *("chatsync_rows", "chatsync_clients_taken", "chatsync_rejected_rows", "chatsync_unknown_clients"),
}

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
file = pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def spans(text: str) -> list[str]:
    """Return the spans of code in a text, without its blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


@cache
def options() -> set[str]:
    known = set(OTHER_OPTIONS)
    for command in [None, *(name for names in SECTIONS.values() for name in names)]:
        known |= set(re.findall(r"(?<![-\w])--?[a-z][a-z-]*", readme.help_of(command)))
    return known


@page
def test_every_option_is_one_of_the_program(page: Path) -> None:
    named = {option for span in spans(page.read_text(encoding="utf-8")) for option in re.findall(r"^--[\w-]+", span)}

    assert named - options() == set()


@file
def test_every_key_is_one_of_the_configuration(file: Path) -> None:
    known = {f"{name}.{key}" for name, kind in reference.sections().items() for key, *_ in reference.keys(kind)}
    named = re.findall(
        rf"(?<![\w./-])(?:{'|'.join(reference.sections())})\.(?!(?:md|py|json|toml|example|yml)\b)[a-z_]+",
        file.read_text(encoding="utf-8"),
    )

    assert set(named) - known == set()


@page
def test_every_path_of_the_repository_exists(page: Path) -> None:
    paths = [
        span
        for span in spans(page.read_text(encoding="utf-8"))
        if re.fullmatch(r"[\w./-]+/[\w.-]*|[\w-]+\.(?:md|py)", span)
    ]
    ours = [path for path in paths if not path.startswith(("/", "~", ".", "http")) and "…" not in path]

    assert [path for path in ours if not any((base / path).exists() for base in (ROOT, ROOT / "chatsync"))] == []


@page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets


@file
def test_every_metric_is_one_of_the_program(file: Path) -> None:
    named = set(re.findall(r"\bchatsync_[a-z_]+[a-z]\b", file.read_text(encoding="utf-8")))

    assert named - ATTRIBUTES <= set(METRICS)


@pytest.mark.parametrize("folder", ["chatsync", "tests"])
def test_the_tree_of_the_architecture_page_is_the_tree(folder: str) -> None:
    (tree,) = re.findall(rf"^{folder}/\n((?:  .+\n)+)", readme.ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^  (\S+)", tree, re.MULTILINE)
    there = [f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / folder).iterdir()]

    if folder == "tests":
        there = [name for name in there if name.endswith("/")]
    assert sorted(named) == sorted(name for name in there if not name.startswith(("_", ".")))

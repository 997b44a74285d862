"""docs/runbook.md shows what the commands print: each section is played on real servers and the stand-in for YT."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.harness import runbook
from tests.harness.job import Job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.wire import Wired
    from tests.harness.yt_proxy import YtProxy


def test_each_section_that_shows_output_has_a_story() -> None:
    assert sorted(runbook.sections()) == sorted(runbook.STORIES)


@pytest.mark.parametrize("heading", runbook.STORIES)
def test_the_page_shows_what_is_printed(heading: str, wired: Wired, yt: YtProxy, tmp_path: Path) -> None:
    scene = runbook.Scene(Job(tmp_path, wired), wired, yt)

    with closing(runbook.played(heading, scene)) as story:  # so that a story which fails leaves the server as it was
        for command, page, printed in story:
            assert runbook.shows(page, printed), "\n".join([f"$ {command}", *printed])


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        (["a 1 s", "b"], True),
        (["a 2 h 3 min", "…"], True),
        (["…", "b"], True),
        (["a 1 s", "…", "b"], True),
        (["a 1 s"], False),
        (["…", "a 1 s"], False),
        (["b", "…"], False),
        (["a 1 s", "c"], False),
    ],
)
def test_what_is_cut_may_be_anything_and_the_rest_nothing_else(page: list[str], shown: bool) -> None:
    assert runbook.shows(page, ["a 5 s", "b"]) is shown

"""A plan from an export is never recorded as synced while what we changed ourselves is not as the list says."""

from __future__ import annotations

import os

import pytest

from tests.harness.export_histories import RULES, play

COUNT = int(os.environ.get("CHATSYNC_TEST_HISTORIES", "8"))
ALL_RULES = list(RULES)[2:]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ALL_RULES)
def test_no_change_of_ours_is_missed_in_any_history(rule: str) -> None:
    """More of them by CHATSYNC_TEST_HISTORIES=4000."""
    counts = play(rule, range(COUNT))

    assert (counts["wrong, by us"], counts["wrong changes"]) == (0, 0)
    assert counts["from the export"] > COUNT // 2


@pytest.mark.slow
def test_without_the_age_of_our_last_change_such_a_miss_is_found() -> None:
    """So that the test above can fail."""
    counts = play("+ differences confirmed", range(10))

    assert counts["wrong, by us"] > 0
    assert counts["wrong changes"] == 0

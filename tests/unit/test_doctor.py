"""How the doctor's lines are put together and counted."""

from __future__ import annotations

from chatsync.diagnostics.doctor import bad, folded, good, totals, warning


def test_lines_that_differ_in_their_part_alone_are_one() -> None:
    shards = [f"shard {number}" for number in range(1, 8)]
    lines = [good("dict", "up"), *(warning(shard, "no TLS") for shard in shards), good("shard 9", "up")]

    one, other = folded(lines)

    assert str(one) == "✓ databases  up (2: dict, shard 9)"
    assert str(other) == "! databases  no TLS (7: shard 1, shard 2, shard 3, shard 4, shard 5 and 2 more)"
    assert totals([one, other]) == "9 checks: 0 failed, 7 warnings"


def test_failures_stay_as_they_are() -> None:
    lines = [bad("shard 1", "away"), bad("shard 2", "away"), warning("dict", "old")]

    assert folded(lines) == lines
    assert totals(lines) == "3 checks: 2 failed, 1 warning"
    assert totals([good("list", "fine")]) == "1 check: 0 failed, 0 warnings"

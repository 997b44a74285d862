"""The lines about the plan file of a first fill: written and read, against the least that its bytes cost."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Command, Contest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.contests import Contests

FILE = "first-fill.json"
MODULES = {"PYTHONPATH": str(Path(__file__).parents[1])}
READ_MEMORY = 400  # MiB


def plan_file(lines: Contests) -> Iterator[Contest]:
    """Write the plan of a first fill and read it; only that is timed, not the making of the plan."""
    size, folder = lines.size, shlex.quote(str(lines.bench.folder))
    for action, to, memory in (("write", "copy", None), ("read", "/dev/null", READ_MEMORY)):
        program = [sys.executable, "-m", "bench.plan_file", action, FILE, str(size.clients), str(size.shards)]
        yield Contest(
            name="plan-file",
            what=f"{action} a plan file of {size.clients:,} sparse ids",
            against=f"sha256sum, and cat to {to}",
            ours=Command(argv=program, environment=MODULES, tells=True),
            peer=Command(argv=["bash", "-ec", f"cd {folder}; touch {FILE}; sha256sum {FILE}; cat {FILE} > {to}"]),
            goal=6,
            rss_goal=memory,
        )


BY_NAME: dict[str, Callable[[Contests], Iterator[Contest]]] = {"plan-file": plan_file}

"""The peak memory of this process (proc(5): VmHWM, and clear_refs, which resets it)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A command takes about 90 MB by itself, and may take 300 MB with any answer.
GROWTH_MB = 200


def _megabytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)[0]) // 1024


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail if the block needs so much memory that a command would exceed 300 MB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _megabytes("VmRSS")
    yield
    grown = _megabytes("VmHWM") - before
    assert grown < GROWTH_MB, f"{grown} MB"

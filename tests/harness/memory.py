"""How much memory this process took at its peak (proc(5): VmHWM, and clear_refs, which sets it back)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A command takes about 90 MB by itself, and may take 300 MB whatever it is answered.
GROWTH_MB = 200


def _megabytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)[0]) // 1024


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail when the block needs so much memory at its peak that a command would exceed 300 MB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _megabytes("VmRSS")
    yield
    grown = _megabytes("VmHWM") - before
    assert grown < GROWTH_MB, f"{grown} MB"

"""Run a command and write what it cost: `launch.py COST_FILE COMMAND...`.

A process of its own, and a small one: Linux counts the memory of the process that starts a command
into the peak of that command (`getrusage(2)`, ru_maxrss).
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Run the command with the streams of this process; return its exit code."""
    cost_file, *command = sys.argv[1:]
    began = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - began
    cost = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss_mb": usage.ru_maxrss / 1024}
    Path(cost_file).write_text(json.dumps(cost), encoding="utf-8")
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main())

"""Logging set-up: short aligned lines for people, or one JSON object a line for machines."""

import logging
import sys

ROOT = "chatsync"
# The YT client's own logger; its records go where ours go, and no further.
_YT = "Yt"


def set_up(*, verbosity: int, output_format: str) -> None:
    """Send log records to standard error.

    `verbosity`: -1 errors only, 0 warnings, 1 one line a step and every retry, 2 all there is.
    """
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger(ROOT)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False

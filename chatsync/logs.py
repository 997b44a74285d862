"""Logging: short aligned lines for people, or one JSON object a line for machines.

Every line names the chain (trace id, carried in the plan), so that a search for it tells the
story of `diff`, `apply` and `set-modtime`, whichever machine they ran on.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from chatsync.errors import ChatsyncError
from chatsync.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "chatsync"

_SHORT_ID = 8
# What every record has; the rest came with `extra=` and is a field of the event.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
# Libraries that have something to say: by themselves they would write beside our format. Below
# a warning they tell of rows and requests, so they are kept to warnings, with -vv too.
_OTHERS = ("mysql.connector", "sqlalchemy", "yt.packages.urllib3")


class Invocation(Protocol):
    """What a line says about the command that it comes from; all but `method` may change on the way.

    `log_service` and `log_method` are what the configuration calls the job; without it, `method` is the command.
    """

    method: str
    log_service: str
    log_method: str
    trace_id: str
    span_id: str


def set_up(invocation: Invocation, *, verbosity: int, output_format: str) -> None:
    """Send log records to standard error.

    `verbosity`: -1 errors only, 0 warnings, 1 one line a step and every retry, 2 all there is.
    """
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[output_format](invocation))
    handler.addFilter(_is_news)
    for name in (ROOT, *_OTHERS):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level if name == ROOT else max(level, logging.WARNING))


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out where a library was when a signal or the deadline stopped it: the last line says that it did."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name.partition(".")[0] == ROOT or not isinstance(error, ChatsyncError)


def failure(
    line: str, invocation: Invocation, *, error: BaseException | None, exit_code: int, output_format: str
) -> str:
    """Return a command's last words as a line of the log; `error` brings its traceback along."""
    record = logging.makeLogRecord({
        "name": f"{ROOT}.cli",
        "levelno": logging.ERROR,
        "levelname": "ERROR",
        "msg": line,
        "exit_code": exit_code,
        "exc_info": (type(error), error, error.__traceback__) if error else None,
    })  # fmt: skip
    return _FORMATTERS[output_format](invocation).format(record)


class TextFormatter(logging.Formatter):
    """`2026-11-23T10:30:00Z INFO    3f2a9c1d shard 1: …`: when, how bad, which chain, what."""

    def __init__(self, invocation: Invocation) -> None:
        """Take the ids from `invocation` at the time of each line."""
        super().__init__()
        self._invocation = invocation

    def format(self, record: logging.LogRecord) -> str:
        """Lay out one record."""
        trace = self._invocation.trace_id[:_SHORT_ID]
        line = f"{_utc(record.created)}Z {record.levelname:<7} {trace} {one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line: the fixed fields first, then those of the event."""

    def __init__(self, invocation: Invocation) -> None:
        """Take the ids from `invocation` at the time of each line."""
        super().__init__()
        self._invocation = invocation
        self._host = os.uname().nodename

    def format(self, record: logging.LogRecord) -> str:
        """Turn one record into an object; a field of the event can't stand in for a fixed one."""
        import json  # late: text lines, and so help, need none of it

        fixed = self._fixed(record)
        event = {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in fixed}
        if record.exc_info:
            event["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps({**fixed, **event}, ensure_ascii=False, default=str)

    def _fixed(self, record: logging.LogRecord) -> dict[str, Any]:
        return {
            "log_time": f"{_utc(record.created)}.{int(record.created % 1 * 1_000_000):06}Z",
            "host": self._host,
            "service": self._invocation.log_service,
            "method": self._invocation.log_method or self._invocation.method,
            "step": self._invocation.method,
            "trace_id": self._invocation.trace_id,
            "span_id": self._invocation.span_id,
            "prefix": f"{ROOT}[{record.process or os.getpid()}]",
            "log_level": record.levelname,
            "class_name": record.name,
            "message": record.getMessage(),
        }


def _utc(created: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


_FORMATTERS: Mapping[str, type[TextFormatter | JsonFormatter]] = {"text": TextFormatter, "json": JsonFormatter}

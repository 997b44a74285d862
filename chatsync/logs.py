"""Logging: short aligned lines for people, or one JSON object a line for machines.

Every line has the trace id of the chain (it is stored in the plan), so that a search for it finds the
lines of `diff`, `apply` and `set-modtime`, even from different machines.
"""

from __future__ import annotations

import json
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
# The attributes of every log record; all others came with `extra=` and are fields of the event.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
# Libraries that log: without this they would not use our format. Below warnings they log rows and
# requests, so only their warnings are logged, also with -vv.
_OTHERS = ("mysql.connector", "sqlalchemy", "yt.packages.urllib3")


class Invocation(Protocol):
    """The fields of a log line about its command; all except `method` may change while it runs.

    `log_service` and `log_method` are the names of the job in the configuration; the default is `method`.
    """

    method: str
    log_service: str
    log_method: str
    trace_id: str
    span_id: str


def set_up(invocation: Invocation, *, verbosity: int, output_format: str) -> None:
    """Send log records to standard error.

    `verbosity`: -1 errors only, 0 also warnings, 1 also each step and each retry, 2 everything.
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
    """Drop a library's log of our own signal or deadline error: the last line of the command says it already."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name.partition(".")[0] == ROOT or not isinstance(error, ChatsyncError)


def failure(
    line: str, invocation: Invocation, *, error: BaseException | None, exit_code: int, output_format: str
) -> str:
    """Format a command's error as a log line; `error` adds its traceback."""
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
    """Text lines: time, level, chain, message, as in `2026-11-23T10:30:00Z INFO    3f2a9c1d shard 1: …`."""

    def __init__(self, invocation: Invocation) -> None:
        """Take the ids from `invocation` at the time of each line."""
        super().__init__()
        self._invocation = invocation

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        trace = self._invocation.trace_id[:_SHORT_ID]
        line = f"{_utc(record.created)}Z {record.levelname:<7} {trace} {one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """JSON lines: one object on each line, first the fixed fields, then those of the event."""

    def __init__(self, invocation: Invocation) -> None:
        """Take the ids from `invocation` at the time of each line."""
        super().__init__()
        self._invocation = invocation
        self._host = os.uname().nodename

    def format(self, record: logging.LogRecord) -> str:
        """Format one record as an object; a field of the event can't replace a fixed one."""
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

"""The plan file: written completely or not at all, and accepted only exactly as it was written."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from chatsync.core import Plan, from_document, loads, pieces, sealed, to_document
from chatsync.errors import OutOfDateError, SourceError, UntrustedPlanError
from chatsync.files import write_whole
from chatsync.redaction import escape_odd, values_without_secrets, without_secrets

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def save(plan: Plan, path: Path) -> None:
    """Write the plan file: whole or not at all, readable by its owner only."""
    write_whole(path, in_json(document(plan)))


def document(plan: Plan) -> dict[str, Any]:
    """Return a plan's JSON document; texts from the list (cells, its path) are cleaned before the hash is computed."""
    written = to_document(plan)
    cleaned = {**written, "exclusions": values_without_secrets(written["exclusions"])}
    return cleaned if cleaned == written else sealed(cleaned)


def in_json(document: Any) -> Iterator[bytes]:
    """Format a document as one line of JSON in valid UTF-8, with secrets hidden, piece by piece."""
    yield from pieces(document, dump=_dump, comma=", ", colon=": ", ordered=False)
    yield b"\n"


def _dump(value: Any) -> str:
    return without_secrets(escape_odd(json.dumps(value, ensure_ascii=False)))


def load(path: Path) -> Plan:
    """Read a plan file.

    Raises OutOfDateError if it was cut short or edited, or if its version is not known, and
    UntrustedPlanError if another user may have written it.
    """
    try:
        with path.open("rb") as file:
            _check_writers(os.fstat(file.fileno()), path)
            plan = from_document(loads(file.read(), pairs=_no_doubles))
    except OSError as error:
        raise SourceError(f"cannot read the plan {path}: {error.strerror}") from None
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise OutOfDateError(f"{path} was cut short or edited, or is not a plan ({reason})") from None
    if plan.off_before is msgspec.UNSET:
        raise OutOfDateError(f"{path} was written by an earlier version of chatsync and lacks the state of the shards")
    if plan.undo_of:
        way_out = f"run `chatsync apply --undo {plan.undo_of}`"
        raise OutOfDateError(f"{path} is the undo of a run, which can't be applied from a file", way_out=way_out)
    return plan


def _check_writers(status: os.stat_result, path: Path) -> None:
    """Refuse a file that others may write: the hash protects a plan from accidents, not from other users."""
    if status.st_uid not in (os.geteuid(), _ROOT):
        whose = f"{path} belongs to the user with the id {status.st_uid}"
        way_out = f"run `chatsync diff` as user {os.geteuid()}, or chown the file if you trust its content"
        raise UntrustedPlanError(f"the plan is not trusted: {whose}", way_out=way_out)
    if status.st_mode & _OTHERS_WRITE:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        way_out = "run `chatsync diff` again, or chmod 600 the file if you trust its content"
        raise UntrustedPlanError(f"the plan is not trusted: others may write {path} (mode {mode})", way_out=way_out)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("it has a key twice")
    return document

"""The plan file: written whole or not at all, and read back only as it was written."""

import json
from pathlib import Path
from typing import Any

import msgspec

from chatsync.core.plan import Plan, from_document, sealed, to_document
from chatsync.errors import OutOfDateError, SourceError
from chatsync.files import write_whole
from chatsync.redaction import escape_odd, values_without_secrets


def save(plan: Plan, path: Path) -> None:
    """Write the plan file: whole or not at all, readable by its owner only."""
    write_whole(path, in_json(document(plan)))


def document(plan: Plan) -> dict[str, Any]:
    """Return a plan's JSON document; texts of the list (cells, its path) are cleaned before the hash is made."""
    written = to_document(plan)
    cleaned = {**written, "exclusions": values_without_secrets(written["exclusions"])}
    return cleaned if cleaned == written else sealed(cleaned)


def in_json(document: Any) -> str:
    """Write a document as a file of one line, in which every text is valid UTF-8."""
    return escape_odd(json.dumps(document, ensure_ascii=False)) + "\n"


def load(path: Path) -> Plan:
    """Read a plan file.

    Raises OutOfDateError for one that is cut short, edited, or of a version we don't know.
    """
    try:
        plan = from_document(json.loads(path.read_bytes(), object_pairs_hook=_no_doubles))
    except OSError as error:
        raise SourceError(f"cannot read the plan {path}: {error.strerror}") from None
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise OutOfDateError(f"{path} was cut short, edited or is no plan ({reason})") from None
    if plan.undo_of:
        way_out = f"run `chatsync apply --undo {plan.undo_of}`"
        raise OutOfDateError(f"{path} is the undo of a run, which is made anew each time", way_out=way_out)
    return plan


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        msg = "a key stands there twice"
        raise ValueError(msg)
    return document

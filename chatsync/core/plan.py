"""The plan: a diff as a value that can be saved, read again, reviewed, and refused.

Its JSON form is part of the interface. `sha256` is the hash of the plan without that key, encoded
with sorted keys, no white space and non-ASCII characters escaped.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from pyroaring import BitMap64

from chatsync.config.settings import Count, Databases
from chatsync.core.client_sets import MAX_CLIENT_ID, MAX_LIST_ID, total
from chatsync.core.diff import Diff, ExclusionList, ListVersion, Rejected
from chatsync.core.times import format_time, read_time

VERSION = 1


class Verdict(StrEnum):
    """What `diff` found."""

    CHANGES = "changes"
    IN_SYNC = "in-sync"
    NOT_MODIFIED = "not-modified"
    DISABLED = "disabled"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class PlanFeature(_Part, frozen=True, kw_only=True):
    """The feature that the plan is for."""

    name: str
    id: int


class PlanExclusions(_Part, frozen=True, kw_only=True):
    """The version of the list that the plan was made from.

    `clients` and `duplicates` are null when the rows were not read, and `rows` when nobody knows.
    `present` and `missing` are the clients of `limits.must_contain`, by whether the list holds them.
    """

    source: str
    modification_time: str
    revision: int | None
    rows: Count | None
    clients: Count | None = None
    duplicates: Count | None = None
    rejected: tuple[Rejected, ...] = ()
    rejected_count: Count = 0
    present: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


class Plan(_Part, frozen=True, kw_only=True):
    """The diff, with everything needed to apply it later and to refuse it when it is not true.

    `undo_of` is there only in a plan that comes from no list: it puts back what that run changed.
    """

    created_at: str
    verdict: Verdict
    feature: PlanFeature
    exclusions: PlanExclusions
    modtime: str | None
    off_now: Count | None
    turn_off: Mapping[int, BitMap64]
    turn_on: Mapping[int, BitMap64]
    unknown: BitMap64
    target: str
    trace_id: str
    undo_of: str | msgspec.UnsetType = msgspec.UNSET
    version: int = VERSION

    @property
    def made_at(self) -> datetime:
        """When `diff` made the plan."""
        return read_time(self.created_at)

    @property
    def list_time(self) -> datetime:
        """The modification time of the list."""
        return read_time(self.exclusions.modification_time)

    @property
    def seen_modtime(self) -> datetime | None:
        """The mod-time that `diff` saw; None where there was none."""
        return None if self.modtime is None else read_time(self.modtime)

    @property
    def was_read(self) -> bool:
        """Whether both sides were read, so that the plan holds a real diff."""
        return self.verdict in (Verdict.CHANGES, Verdict.IN_SYNC)

    @property
    def changes(self) -> int:
        """How many clients the plan turns off or on."""
        return total(self.turn_off) + total(self.turn_on)

    @property
    def counts(self) -> dict[str, int]:
        """How many clients are turned off and on, how many are unknown, and how many rows were rejected."""
        return {
            "turn_off": total(self.turn_off),
            "turn_on": total(self.turn_on),
            "unknown": len(self.unknown),
            "rejected": self.exclusions.rejected_count,
        }


def list_part(version: ListVersion, listed: ExclusionList | None, must_contain: tuple[int, ...]) -> PlanExclusions:
    """Describe the list; `listed` is None when only its version is known."""
    known = PlanExclusions(
        source=version.source,
        modification_time=format_time(version.modified),
        revision=version.revision,
        rows=version.rows,
    )
    if listed is None:
        return known
    return msgspec.structs.replace(
        known,
        rows=listed.rows,
        clients=len(listed.ids),
        duplicates=listed.duplicates,
        rejected=listed.rejected,
        rejected_count=listed.rejected_count,
        present=tuple(sorted({number for number in must_contain if number in listed.ids})),
        missing=tuple(sorted({number for number in must_contain if number not in listed.ids})),
    )


def diff_verdict(diff: Diff) -> Verdict:
    """Say what a diff that was really made amounts to."""
    return Verdict.CHANGES if total(diff.turn_off) + total(diff.turn_on) else Verdict.IN_SYNC


def to_document(plan: Plan) -> dict[str, Any]:
    """Turn a plan into the JSON document of the interface, in its order, `sha256` last."""
    body = msgspec.to_builtins(plan, str_keys=True, enc_hook=list)
    ordered = {"version": body.pop("version"), **body}
    return sealed(ordered)


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a plan with the hash of what it holds, `sha256`, last."""
    body = {key: value for key, value in document.items() if key != "sha256"}
    return {**body, "sha256": _hash(body)}


def _hash(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def from_document(document: Any) -> Plan:
    """Check and read the JSON document of a plan. Raises ValueError when it is not as written."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        msg = f"not a plan of version {VERSION}"
        raise ValueError(msg)
    body = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != _hash(body):
        msg = "its sha256 does not match"
        raise ValueError(msg)
    plan = msgspec.convert(body, Plan, str_keys=True, dec_hook=id_set)
    _ = plan.list_time, plan.seen_modtime, plan.made_at
    _check_content(plan)
    return plan


def id_set(kind: type, value: Any) -> BitMap64:
    """Read a JSON array of ids, which must be whole numbers in ascending order."""
    if kind is not BitMap64:
        raise NotImplementedError(kind)
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item <= MAX_LIST_ID for item in value):
        msg = "expected an array of client ids"
        raise ValueError(msg)
    ids = BitMap64(value)
    if list(ids) != value:
        msg = "client ids must ascend"
        raise ValueError(msg)
    return ids


def _check_content(plan: Plan) -> None:
    """Ids that the column can't hold never reach a statement, and no part contradicts another one.

    A client is changed one way only, and changes go with the verdict.
    """
    if any(0 in ids for ids in (*plan.turn_off.values(), plan.unknown)):
        msg = "0 can't be on a list"  # but there may be a row of it, to be turned on
        raise ValueError(msg)
    if plan.turn_off.keys() != plan.turn_on.keys():
        msg = "turn_off and turn_on name different shards"
        raise ValueError(msg)
    if bool(plan.changes) != (plan.verdict is Verdict.CHANGES):
        msg = f"{plan.changes} changes under the verdict {plan.verdict.value}"
        raise ValueError(msg)
    if plan.verdict is Verdict.DISABLED and plan.modtime is None:
        msg = "disabled by no mod-time"
        raise ValueError(msg)
    changed = [*plan.turn_off.values(), *plan.turn_on.values()]
    if any(ids and ids.max() > MAX_CLIENT_ID for ids in changed):
        msg = f"a client id above {MAX_CLIENT_ID}"
        raise ValueError(msg)
    # A run may have turned a client on wherever it had a row, and its undo turns it off there again.
    if not plan.undo_of and len(BitMap64().union(*plan.turn_off.values())) != total(plan.turn_off):
        msg = "a client is turned off on two shards"
        raise ValueError(msg)
    if BitMap64().union(*plan.turn_off.values()) & BitMap64().union(*plan.turn_on.values()):
        msg = "a client is turned off and on"
        raise ValueError(msg)


def fingerprint(databases: Databases) -> str:
    """Identify the databases that a plan is for: shard names, hosts and schemas, no secrets."""
    places = {"dict": str(databases.dict), **{str(shard): str(url) for shard, url in databases.shards.items()}}
    canonical = json.dumps(places, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

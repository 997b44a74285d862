"""The JSON form of a plan, which is part of the interface. Pure.

`sha256` is the hash of the plan without that key, encoded with sorted keys, no white space and
non-ASCII characters escaped.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from pyroaring import BitMap64

from chatsync.core.client_sets import MAX_CLIENT_ID, MAX_LIST_ID, are_disjoint, counted, total, union
from chatsync.core.packed_json import canonical
from chatsync.core.plan import VERSION, Plan, Verdict, rows_after

# A plan of so few changes is not worth loading numpy.
_FEW = 500


def to_document(plan: Plan) -> dict[str, Any]:
    """Turn a plan into the JSON document of the interface, in its order, `sha256` last. Sets of ids stay sets."""
    body = msgspec.to_builtins(plan, str_keys=True, builtin_types=(BitMap64,))
    ordered = {"version": body.pop("version"), **body}
    return sealed(ordered)


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a plan with the hash of its content as the last key, `sha256`."""
    body = {key: value for key, value in document.items() if key != "sha256"}
    return {**body, "sha256": _hash(body)}


def _hash(body: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for piece in canonical(body):
        digest.update(piece)
    return digest.hexdigest()


def from_document(document: Any) -> Plan:
    """Check and read the JSON document of a plan. Raises ValueError when it is not what chatsync wrote."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"not a plan of version {VERSION}")
    body = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != _hash(body):
        raise ValueError("its sha256 does not match")
    plan = msgspec.convert(body, Plan, str_keys=True, dec_hook=id_set)
    _ = plan.list_time, plan.seen_modtime, plan.made_at
    _check_content(plan)
    return plan


def id_set(kind: type, value: Any) -> BitMap64:
    """Read a JSON array of ids, which must be whole numbers in ascending order; one read as a set is one already."""
    if kind is not BitMap64:
        raise NotImplementedError(kind)
    if isinstance(value, BitMap64):
        return value
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item <= MAX_LIST_ID for item in value):
        raise ValueError("expected an array of client ids")
    ids = BitMap64(value)
    if list(ids) != value:
        raise ValueError("client ids must ascend")
    return ids


def _check_content(plan: Plan) -> None:
    """Check that all ids fit the column and that no part of the plan contradicts another.

    A client is either turned off or turned on, and there are changes only with the verdict `changes`.
    """
    if any(0 in ids for ids in (*plan.turn_off.values(), plan.unknown)):
        raise ValueError("0 can't be on a list")  # but a row with the id 0 may exist and be turned on
    if plan.turn_off.keys() != plan.turn_on.keys():
        raise ValueError("turn_off and turn_on name different shards")
    if bool(plan.changes) != (plan.verdict is Verdict.CHANGES):
        raise ValueError(f"{counted(plan.changes, 'change')} under the verdict {plan.verdict.value}")
    if plan.verdict is Verdict.DISABLED and plan.modtime is None:
        raise ValueError("disabled, but without a mod-time")
    changed = [*plan.turn_off.values(), *plan.turn_on.values()]
    if any(ids and ids.max() > MAX_CLIENT_ID for ids in changed):
        raise ValueError(f"a client id above {MAX_CLIENT_ID}")
    if plan.changes <= _FEW or not are_disjoint([*changed, plan.unknown]):
        _check_clients(plan)
    _check_off_rows(plan)


def _check_clients(plan: Plan) -> None:
    """Find out which parts of the plan have a client in common."""
    off, on = union(plan.turn_off), union(plan.turn_on)
    # In the record of an earlier version, an undo or turn_on may have a client on two shards.
    if plan.off_before is not msgspec.UNSET or not plan.undo_of:
        _check_one_shard_each(plan, off, on)
    if not off.isdisjoint(on):
        raise ValueError("a client is turned off and on")
    if not (plan.unknown.isdisjoint(off) and plan.unknown.isdisjoint(on)):
        raise ValueError("a client is changed on a shard and lives on none")


def _check_one_shard_each(plan: Plan, off: BitMap64, on: BitMap64) -> None:
    if len(off) != total(plan.turn_off):
        raise ValueError("a client is turned off on two shards")
    if plan.off_before is not msgspec.UNSET and len(on) != total(plan.turn_on):
        raise ValueError("a client is turned on on two shards")


def _check_state_from(plan: Plan) -> None:
    """Check that a plan from an export says nothing about whole shards, and that all its changes were confirmed."""
    if plan.off_before is not None or plan.off_after is not None or not plan.was_read or plan.undo_of:
        raise ValueError("off_before and off_after do not go with a state from an export")
    if plan.off_now is None or plan.state_from is None or plan.state_from.confirmed != plan.changes:
        raise ValueError("the changes are not those that the databases confirmed")
    _ = plan.state_from.time


def _check_off_rows(plan: Plan) -> None:
    """Check the off rows against the rest of the plan; a record of an earlier version has no off rows."""
    if plan.off_before is msgspec.UNSET and plan.off_after is msgspec.UNSET:
        return
    if plan.state_from is not None:
        _check_state_from(plan)
        return
    if bool(plan.off_before) != plan.was_read or bool(plan.off_after) != plan.was_read:
        raise ValueError(f"off_before or off_after does not go with the verdict {plan.verdict.value}")
    if not plan.was_read:
        return
    if plan.before.keys() != plan.turn_on.keys() or not plan.strays.keys() <= plan.before.keys():
        raise ValueError("off_before, strays and turn_on name different shards")
    if any(off < len(plan.turn_on[shard]) for shard, off in plan.off_by_shard.items()):
        raise ValueError("more clients are turned on than are off")
    if plan.off_now != sum(plan.off_by_shard.values()):
        raise ValueError("off_now is not what off_before and strays add up to")
    if plan.after != rows_after(plan.before, turn_off=plan.turn_off, turn_on=plan.turn_on):
        raise ValueError("off_after is not what off_before and the changes lead to")

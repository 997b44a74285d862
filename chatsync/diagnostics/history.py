"""What the run records say about clients. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pyroaring import BitMap64

from chatsync.core.results import Action
from chatsync.sync.records import Record


@dataclass(frozen=True, kw_only=True)
class ClientChange:
    """What one run did to one client; not `certain` when it never said, or never heard whether it did."""

    record: Record
    action: Action
    certain: bool


def client_changes(records: Iterable[Record], asked: BitMap64) -> dict[int, list[ClientChange]]:
    """Say what the runs did to each client asked for, in the order of the runs; who was left alone is not there."""
    found: dict[int, list[ClientChange]] = {}
    for record in records:
        for action in Action:
            certain = record.changed(action)
            for client in asked & (record.planned(action) if record.is_open else record.touched(action)):
                change = ClientChange(record=record, action=action, certain=client in certain)
                found.setdefault(client, []).append(change)
    return found


def listed_since(records: Iterable[Record], asked: BitMap64) -> dict[int, Record]:
    """Find for each client the first run of those since which it was listed all along, as far as plans tell.

    Takes the newest run first. A plan tells of a client that it turns off or calls unknown that it
    was listed, of one that it turns on that it was not, and of all others nothing; an undo knows no list.
    """
    since: dict[int, Record] = {}
    undecided = asked
    for record in records:
        if record.undo_of:
            continue
        undecided = undecided - record.planned(Action.TURN_ON)
        listed = record.plan.unknown | record.planned(Action.TURN_OFF)
        since.update(dict.fromkeys(undecided & listed, record))
    return since

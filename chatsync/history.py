"""What the run records say about clients. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chatsync.records import Record
from chatsync.results import Action


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What one run did to one client; not `certain` when it had that in its plan and never said."""

    record: Record
    action: Action
    certain: bool = True


def deed(record: Record, client: int) -> Deed | None:
    """Say what a run did to a client; None when it left the client alone."""
    for action in Action:
        if client in record.changed(action):
            return Deed(record=record, action=action)
        if record.is_open and client in record.planned(action):
            return Deed(record=record, action=action, certain=False)
    return None


def deeds(records: Iterable[Record], client: int) -> Iterator[Deed]:
    """Yield what the runs did to a client, in the order of the runs."""
    for record in records:
        done = deed(record, client)
        if done is not None:
            yield done


def listed_since(records: Iterable[Record], client: int) -> Record | None:
    """Find the first run, of those since which the client was listed all along as far as plans tell.

    Takes the newest run first. A plan tells of a client that it turns off or calls unknown that it
    was listed, of one that it turns on that it was not, and of all others nothing; an undo knows no list.
    """
    since = None
    for record in records:
        if record.undo_of:
            continue
        if client in record.planned(Action.TURN_ON):
            break
        if client in record.plan.unknown or client in record.planned(Action.TURN_OFF):
            since = record
    return since

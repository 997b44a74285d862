"""What an apply did on each shard: the values that the report shows and the records keep."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from pyroaring import BitMap64

from chatsync.core.arrays import Ids, np
from chatsync.core.client_sets import are_among, union_of, without
from chatsync.core.plan import Plan
from chatsync.errors import ChatsyncError


class Action(StrEnum):
    """What is done to a client."""

    TURN_OFF = "turn_off"
    TURN_ON = "turn_on"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one batch did: `changed` are the clients whose row it changed; the rows in `already` needed no change."""

    changed: Ids
    already: Ids


class Gathered:
    """Ids that come in parts, no id in two of them, and become a set when it is asked for.

    To add a part to a set takes as long as the set is large.
    """

    def __init__(self, parts: Iterable[Ids] = ()) -> None:
        """Take the first parts."""
        self._parts = [*parts]

    def __len__(self) -> int:
        """Count the ids."""
        return sum(map(len, self._parts))

    def add(self, ids: Ids) -> None:
        """Take one more part."""
        self._parts.append(ids)

    def drop(self, ids: Ids) -> None:
        """Forget those of these ids that are here."""
        self._parts = [kept for part in self._parts if len(kept := without(part, ids))]

    def among(self, ids: Ids) -> Ids:
        """Return those of these ids that are here."""
        return ids[are_among(ids, np.concatenate([ids[:0], *self._parts]))]

    def copy(self) -> Self:
        """Return the same ids, which then do not change with these."""
        return type(self)(self._parts)

    def as_set(self) -> BitMap64:
        """Return all of them as a set."""
        return union_of(self._parts) if self._parts else BitMap64()


@dataclass(kw_only=True)
class Tally:
    """One action on one shard: the planned clients, those that were changed, and those that needed no change.

    `in_doubt` are the clients of a batch whose COMMIT was sent but not answered, `refused` those whose row
    the server refused to write when it was tried alone.
    """

    planned: BitMap64
    changed: Gathered = field(default_factory=Gathered)
    already: Gathered = field(default_factory=Gathered)
    in_doubt: Gathered = field(default_factory=Gathered)
    refused: BitMap64 = field(default_factory=BitMap64)

    @property
    def failed(self) -> int:
        """How many changes were not made, or may not have been."""
        return len(self.planned) - len(self.changed) - len(self.already)

    def add(self, written: Written) -> None:
        """Count one batch, or a part of one."""
        self.changed.add(written.changed)
        self.already.add(written.already)
        self.in_doubt.drop(written.changed)

    def refuse(self, client: Ids) -> None:
        """Count one client whose row the server refuses: an earlier commit of it did not go through."""
        self.refused.update(client.tolist())
        self.in_doubt.drop(client)


@dataclass(kw_only=True)
class ShardResult:
    """What was done on one shard, and the error if not everything was done."""

    shard: int
    tallies: dict[Action, Tally]
    error: ChatsyncError | None = None

    @property
    def failed(self) -> int:
        """How many changes were not made, or may not have been."""
        return sum(tally.failed for tally in self.tallies.values())

    @property
    def in_doubt(self) -> int:
        """How many of the failed changes may have been made."""
        return sum(len(tally.in_doubt) for tally in self.tallies.values())

    @property
    def refused(self) -> BitMap64:
        """The clients whose row the server refuses to write."""
        return BitMap64().union(*(tally.refused for tally in self.tallies.values()))


def nothing_done(plan: Plan, shard: int, *, error: ChatsyncError | None = None) -> ShardResult:
    """Return the result of a shard before any change was made; `error` is why nothing may be written there."""
    none = BitMap64()
    tallies = {
        Action.TURN_OFF: Tally(planned=plan.turn_off.get(shard, none)),
        Action.TURN_ON: Tally(planned=plan.turn_on.get(shard, none)),
    }
    return ShardResult(shard=shard, tallies=tallies, error=error)

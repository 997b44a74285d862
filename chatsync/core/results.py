"""What an apply did on each shard: the values that the report shows and the records keep."""

from dataclasses import dataclass, field
from enum import StrEnum

from pyroaring import BitMap64

from chatsync.core.plan import Plan
from chatsync.errors import ChatsyncError


class Action(StrEnum):
    """What is done to a client."""

    TURN_OFF = "turn_off"
    TURN_ON = "turn_on"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one batch did: `changed` are the clients whose row it changed; the rows in `already` needed no change."""

    changed: BitMap64
    already: BitMap64


@dataclass(kw_only=True)
class Tally:
    """One action on one shard: the planned clients, those that were changed, and those that needed no change.

    `in_doubt` are the clients of a batch whose COMMIT was sent but not answered, `refused` those whose row
    the server refused to write when it was tried alone.
    """

    planned: BitMap64
    changed: BitMap64 = field(default_factory=BitMap64)
    already: BitMap64 = field(default_factory=BitMap64)
    in_doubt: BitMap64 = field(default_factory=BitMap64)
    refused: BitMap64 = field(default_factory=BitMap64)

    @property
    def failed(self) -> int:
        """How many changes were not made, or may not have been."""
        return len(self.planned) - len(self.changed) - len(self.already)

    def add(self, written: Written) -> None:
        """Count one batch, or a part of one."""
        self.changed |= written.changed
        self.already |= written.already
        self.in_doubt = self.in_doubt - written.changed - written.already

    def refuse(self, client: BitMap64) -> None:
        """Count one client whose row the server refuses: an earlier commit of it did not go through."""
        self.refused |= client
        self.in_doubt = self.in_doubt - client


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

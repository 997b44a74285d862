"""What an apply did, shard by shard: values, which the report shows and the records keep."""

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
    """What one batch did: `changed` are the clients whose row is now other than it was."""

    changed: BitMap64
    already: BitMap64


@dataclass(kw_only=True)
class Tally:
    """One action on one shard: who was to be changed, who was, and who already was so.

    `in_doubt` are those of a batch whose commit was asked for and never heard of again.
    """

    planned: BitMap64
    changed: BitMap64 = field(default_factory=BitMap64)
    already: BitMap64 = field(default_factory=BitMap64)
    in_doubt: BitMap64 = field(default_factory=BitMap64)

    @property
    def failed(self) -> int:
        """How many changes are still missing, or may be."""
        return len(self.planned) - len(self.changed) - len(self.already)

    def add(self, written: Written) -> None:
        """Count one batch."""
        self.changed |= written.changed
        self.already |= written.already
        self.in_doubt = BitMap64()


@dataclass(kw_only=True)
class ShardResult:
    """What was done on one shard, and why not all of it."""

    shard: int
    tallies: dict[Action, Tally]
    error: ChatsyncError | None = None

    @property
    def failed(self) -> int:
        """How many changes are still missing, or may be."""
        return sum(tally.failed for tally in self.tallies.values())

    @property
    def in_doubt(self) -> int:
        """How many of these may be there."""
        return sum(len(tally.in_doubt) for tally in self.tallies.values())


def nothing_done(plan: Plan, shard: int) -> ShardResult:
    """Start counting on one shard, from what the plan wants there."""
    nobody = BitMap64()
    tallies = {
        Action.TURN_OFF: Tally(planned=plan.turn_off.get(shard, nobody)),
        Action.TURN_ON: Tally(planned=plan.turn_on.get(shard, nobody)),
    }
    return ShardResult(shard=shard, tallies=tallies)

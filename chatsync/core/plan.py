"""The plan: a diff as a value that can be saved, loaded, reviewed and refused. Pure."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from pyroaring import BitMap64

from chatsync.config.settings import Count, Databases
from chatsync.core.client_sets import total
from chatsync.core.diff import Diff, ExclusionList, ListVersion, Rejected
from chatsync.core.off_rows import OffRows
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

    `clients` and `duplicates` are null when the rows were not read; `rows` is null when it is not known.
    `present` and `missing` are the clients of `limits.must_contain` that the list holds and lacks.
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


class PlanExport(_Part, frozen=True, kw_only=True):
    """The export that the feature state was read from; or, in `unused`, why the databases were read instead.

    `rows` and `revisions` are those of each shard's table; `rows` is empty if the export was not read.
    `compared_by` is `this machine` or the clique that made the comparison. `last_apply` is the value of
    the property of the last apply. `confirmed` and `contradicted` count the differences between list
    and export that the rows in the databases confirmed and contradicted.
    """

    source: str
    as_of: str
    revisions: Mapping[int, int | None]
    rows: Mapping[int, Count]
    compared_by: str
    last_apply: str | None
    confirmed: Count = 0
    contradicted: Count = 0
    unused: str | None = None

    @property
    def time(self) -> datetime:
        """The time of the export: every row in it is at least this recent."""
        return read_time(self.as_of)

    @property
    def brief(self) -> Mapping[str, str | None]:
        """Where the next plan gets its state from, for JSON."""
        return {"export": self.source, "as_of": self.as_of, "unused": self.unused}


class Plan(_Part, frozen=True, kw_only=True):
    """The diff, with everything needed to apply it later, and to refuse it when it is no longer true.

    `off_before` and `off_after` are the off rows of each shard, including strays: as `diff` read them,
    and as they must be after the plan is applied. They are null if not all rows of the shards were read,
    as in a plan from an export, and unset in the records of earlier versions. `strays` are the off rows
    whose clients do not live on that shard. `undo_of` is the id of the run that the plan takes back; such
    a plan comes from no list. `export` is unset if no export is configured.
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
    strays: Mapping[int, OffRows] = msgspec.field(default_factory=dict)
    off_before: Mapping[int, OffRows] | msgspec.UnsetType | None = msgspec.UNSET
    off_after: Mapping[int, OffRows] | msgspec.UnsetType | None = msgspec.UNSET
    target: str
    trace_id: str
    undo_of: str | msgspec.UnsetType = msgspec.UNSET
    export: PlanExport | msgspec.UnsetType = msgspec.UNSET
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
        """The mod-time that `diff` saw; None if it was not set."""
        return None if self.modtime is None else read_time(self.modtime)

    @property
    def was_read(self) -> bool:
        """Whether both sides were read, so that the plan holds a real diff."""
        return self.verdict in (Verdict.CHANGES, Verdict.IN_SYNC)

    @property
    def state_from(self) -> PlanExport | None:
        """The export that the feature state was read from; None if it was read from the databases."""
        return self.export if self.export and self.export.unused is None else None

    @property
    def before(self) -> Mapping[int, OffRows]:
        """The off rows of each shard as `diff` read them; empty if it did not read them."""
        return self.off_before or {}

    @property
    def after(self) -> Mapping[int, OffRows]:
        """The off rows of each shard as they must be after the plan is applied; empty if `diff` did not read them."""
        return self.off_after or {}

    @property
    def off_by_shard(self) -> dict[int, int]:
        """How many clients that live on a shard are off there, by shard; empty if the shards were not read."""
        strays = self.stray_counts
        return {shard: rows.count - strays.get(shard, 0) for shard, rows in self.before.items()}

    @property
    def stray_counts(self) -> dict[int, int]:
        """How many off rows of clients that live elsewhere each shard has; only shards that have any."""
        return {shard: rows.count for shard, rows in self.strays.items()}

    @property
    def changed(self) -> dict[int, BitMap64]:
        """The clients that the plan changes on each shard: sets to read, those of the plan where it has only one."""
        on = self.turn_on  # of a first fill, a copy would take as much memory as the plan
        return {
            shard: off | on[shard] if off and on[shard] else off or on[shard] for shard, off in self.turn_off.items()
        }

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


def rows_after(
    before: Mapping[int, OffRows], *, turn_off: Mapping[int, BitMap64], turn_on: Mapping[int, BitMap64]
) -> dict[int, OffRows]:
    """Return the off rows of each shard after the changes."""
    return {shard: rows.plus(turn_off[shard]).minus(turn_on[shard]) for shard, rows in before.items()}


def diff_verdict(diff: Diff) -> Verdict:
    """Return the verdict of a diff of two sides that were read."""
    return Verdict.CHANGES if total(diff.turn_off) + total(diff.turn_on) else Verdict.IN_SYNC


def fingerprint(databases: Databases) -> str:
    """Return a hash that identifies the databases of a plan: shard numbers, hosts and schemas, no secrets."""
    places = {"dict": str(databases.dict), **{str(shard): str(url) for shard, url in databases.shards.items()}}
    canonical = json.dumps(places, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

"""The metrics of the chain: their names, and the values that each command knows."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from chatsync import __version__
from chatsync.core import NEVER, Plan, ShardResult, Verdict, is_disabled
from chatsync.errors import DatabaseError, ExitCode
from chatsync.sync.step_log import CHAIN

Samples = Mapping[tuple[str, ...], float]
"""The values of one metric, by the values of its labels."""
Facts = Mapping[str, Samples]
"""What a command knows at its end: samples by metric."""

LIST_MODIFIED = "chatsync_list_modified_timestamp_seconds"
MODTIME = "chatsync_modtime_timestamp_seconds"
DISABLED = "chatsync_disabled"
REFUSED = "chatsync_refused"
LISTED = "chatsync_clients_listed"
UNKNOWN = "chatsync_clients_unknown"
REJECTED = "chatsync_rows_rejected"
OFF = "chatsync_clients_off"
STRAYS = "chatsync_stray_rows"
CHANGES = "chatsync_last_changes"
MISSING = "chatsync_missing_changes"
FAILING = "chatsync_database_failing"
ATTEMPT = "chatsync_last_attempt_timestamp_seconds"
SUCCESS = "chatsync_last_success_timestamp_seconds"
FAILURES = "chatsync_consecutive_failures"
EXIT_CODE = "chatsync_last_exit_code"
DURATION = "chatsync_last_duration_seconds"
BUILD = "chatsync_build_info"
# The label that every series has, before its other labels.
FEATURE = "feature"

# Name: what it says, and its labels.
METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    LIST_MODIFIED: ("When the exclusion list was modified, as the last diff saw it.", ()),
    MODTIME: ("The mod-time: modification time of the list that was last synced in full, 0 for never.", ()),
    DISABLED: ("1 while a mod-time in the future disables the job, else 0.", ()),
    REFUSED: ("1 if a limit refused the last plan, else 0; kept by a run that found nothing modified.", ()),
    LISTED: ("Clients in the list, when it was last read.", ()),
    UNKNOWN: ("Listed clients that live on no shard, when the list was last read.", ()),
    REJECTED: ("Rows of the list that hold no client id, when it was last read.", ()),
    OFF: ("Clients with the feature off, as last read and changed since.", ("shard",)),
    STRAYS: ("Off rows of clients that live on another shard: they are ignored.", ("shard",)),
    CHANGES: ("Clients that the last apply turned off or on.", ("action", "shard")),
    MISSING: ("Changes of the last plan that were not made; kept by a run that found nothing modified.", ("shard",)),
    FAILING: ("1 when the last step that needed this database could not use it, else 0.", ("database",)),
    ATTEMPT: ("When this step of the chain last ended, however it ended.", ("step",)),
    SUCCESS: ("When this step of the chain last succeeded, 0 for never.", ("step",)),
    FAILURES: ("How many times in a row this step has failed; finding the job disabled is not a failure.", ("step",)),
    EXIT_CODE: ("The exit code of this step, as the README lists them; 128 + the number of a signal.", ("step",)),
    DURATION: ("How long this step took when it last ran.", ("step",)),
    BUILD: ("1; the version that wrote these metrics last.", ("version",)),
}
# Each run knows only some samples of these metrics, and all samples of the others.
_SHARED = (FAILING, ATTEMPT, SUCCESS, FAILURES, EXIT_CODE, DURATION)

_GOOD = (ExitCode.OK, ExitCode.DIFFERENCE)


def of_modtime(modtime: datetime | None, *, now: datetime) -> Facts:
    """Return what the mod-time is; None is "never synced"."""
    return {
        MODTIME: {(): (modtime or NEVER).timestamp()},
        DISABLED: {(): is_disabled(modtime, now=now)},
    }


def of_failure(database: str) -> Facts:
    """Return that a database failed the command."""
    return {FAILING: {(database,): 1}}


def of_diff(plan: Plan, *, now: datetime) -> Facts:
    """Return what a diff saw."""
    off = plan.off_by_shard
    known: Facts = {
        **of_modtime(plan.seen_modtime, now=now),
        LIST_MODIFIED: {(): plan.list_time.timestamp()},
        FAILING: {("dict",): 0, **{(f"shard {shard}",): 0 for shard in off}},
    }
    if not plan.was_read:
        return known
    return {
        **known,
        LISTED: {(): plan.exclusions.clients or 0},
        UNKNOWN: {(): len(plan.unknown)},
        REJECTED: {(): plan.exclusions.rejected_count},
        **({} if plan.state_from else _of_shards(plan, off)),
    }


def _of_shards(plan: Plan, off: Mapping[int, int]) -> Facts:
    """Return what a diff that has read every shard saw there."""
    return {
        OFF: {(str(shard),): count for shard, count in off.items()},
        STRAYS: {(str(shard),): plan.stray_counts.get(shard, 0) for shard in off},
    }


def of_apply(plan: Plan, results: Sequence[ShardResult]) -> Facts:
    """Return what an apply did. With nothing modified, an earlier plan that was refused or failed still counts."""
    return _of_changes(results) if plan.verdict is Verdict.NOT_MODIFIED else _of_results(results)


def _of_changes(results: Sequence[ShardResult]) -> Facts:
    """Return how many clients an apply turned off and on."""
    return {
        CHANGES: {
            (action.value, str(result.shard)): len(tally.changed)
            for result in results
            for action, tally in result.tallies.items()
        }
    }


def _of_results(results: Sequence[ShardResult]) -> Facts:
    """Return what an apply did with a plan that it accepted, for each shard."""
    asked = [result for result in results if any(tally.planned for tally in result.tallies.values())]
    # A database that refuses single rows can be used.
    failing = {
        result.shard for result in asked if isinstance(result.error, DatabaseError) and not result.error.is_about_rows
    }
    return {
        **_of_changes(results),
        REFUSED: {(): 0},
        MISSING: {(str(result.shard),): result.failed for result in results},
        FAILING: {(f"shard {result.shard}",): result.shard in failing for result in asked},
    }


def of_step(step: str, *, code: int, seconds: float, now: datetime, former: Facts) -> Facts:
    """Return how a step of the chain ended. `former` is what was known before."""
    key = (step,)
    good = code in _GOOD
    failed = not good and code != ExitCode.DISABLED
    # From the first attempt on each step has a sample: a step that never succeeded must be seen, too.
    never = {(name,): 0.0 for name in CHAIN} | dict(former.get(SUCCESS, {}))
    facts: dict[str, Samples] = {
        SUCCESS: never | ({key: now.timestamp()} if good else {}),
        ATTEMPT: {key: now.timestamp()},
        FAILURES: {key: former.get(FAILURES, {}).get(key, 0) + 1 if failed else 0},
        EXIT_CODE: {key: code},
        DURATION: {key: seconds},
        BUILD: {(__version__,): 1},
    }
    return facts


def merge(former: Facts, *news: Facts) -> Facts:
    """Replace former facts by later ones; after a diff that read all shards, no former database is kept."""
    merged = dict(former)
    for facts in news:
        shared = {name for name in _SHARED if name != FAILING or OFF not in facts}
        for name, samples in facts.items():
            merged[name] = {**merged.get(name, {}), **samples} if name in shared else samples
    return merged


def after_changes(facts: Facts) -> Facts:
    """Bring the number of clients off up to date with the last changes, where it is known."""
    changes = facts.get(CHANGES, {})
    return {
        OFF: {
            (shard,): count + changes.get(("turn_off", shard), 0) - changes.get(("turn_on", shard), 0)
            for (shard,), count in facts.get(OFF, {}).items()
        }
    }

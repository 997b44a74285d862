"""The rules of the job and the values that they work on. Pure: no I/O, no clock, no driver.

Other folders import these names from here; the modules inside import each other.
"""

from chatsync.core.arrays import Ids, Numbers, np
from chatsync.core.client_sets import (
    DEFAULT_LIMIT,
    MAX_CLIENT_ID,
    MAX_LIST_ID,
    Homes,
    IdsByShard,
    bitmap_of,
    chunks,
    counted,
    harmless,
    numbers_of,
    some,
    spelled,
    storable,
    total,
    union,
    union_of,
    without,
)
from chatsync.core.comparison import Sides, compute_diff, live_elsewhere
from chatsync.core.diff import ExclusionList, Keep, ListVersion, Rejected, strays_of
from chatsync.core.export import LastApply, check_last_apply, parse_last_apply, stale, why_unusable
from chatsync.core.modtime import (
    DISABLED_FOREVER,
    NEVER,
    DictState,
    ModTimeState,
    StoredModTime,
    check_enabled,
    check_modtime,
    disabled_message,
    effect,
    is_disabled,
    list_is_newer,
    modtime_meaning,
    modtime_state,
    older_message,
    parse_property,
    until,
    waiting_since,
)
from chatsync.core.objections import (
    ALLOW_EMPTY,
    FORCE,
    Objection,
    are_too_many_rejected,
    feature_objections,
    limit_objections,
    objections_to,
    plan_objections,
    raise_first,
    state_objections,
)
from chatsync.core.off_rows import MIX, SPREAD, Deviation, OffRows, deviation
from chatsync.core.packed_json import json_text, loads, pieces
from chatsync.core.plan import (
    Plan,
    PlanExclusions,
    PlanExport,
    PlanFeature,
    Verdict,
    diff_verdict,
    fingerprint,
    list_part,
    rows_after,
)
from chatsync.core.plan_document import from_document, id_set, sealed, to_document
from chatsync.core.results import Action, Gathered, ShardResult, Tally, Written, nothing_done
from chatsync.core.sorted_ids import IdGatherer, SortedIds, parse_lines
from chatsync.core.times import distance, format_time, parse_time, read_time, short_span, short_time

__all__ = [
    "ALLOW_EMPTY", "DEFAULT_LIMIT", "DISABLED_FOREVER", "FORCE", "MAX_CLIENT_ID", "MAX_LIST_ID", "MIX", "NEVER",
    "SPREAD", "Action", "Deviation", "DictState", "ExclusionList", "Gathered", "Homes", "IdGatherer", "Ids",
    "IdsByShard", "Keep", "LastApply", "ListVersion", "ModTimeState", "Numbers", "Objection", "OffRows", "Plan",
    "PlanExclusions", "PlanExport", "PlanFeature", "Rejected", "ShardResult", "Sides", "SortedIds", "StoredModTime",
    "Tally", "Verdict", "Written", "are_too_many_rejected", "bitmap_of", "check_enabled", "check_last_apply",
    "check_modtime", "chunks", "compute_diff", "counted", "deviation", "diff_verdict", "disabled_message", "distance",
    "effect", "feature_objections", "fingerprint", "format_time", "from_document", "harmless", "id_set", "is_disabled",
    "json_text", "limit_objections", "list_is_newer", "list_part", "live_elsewhere", "loads", "modtime_meaning",
    "modtime_state", "nothing_done", "np", "numbers_of", "objections_to", "older_message", "parse_last_apply",
    "parse_lines", "parse_property", "parse_time", "pieces", "plan_objections", "raise_first", "read_time",
    "rows_after", "sealed", "short_span", "short_time", "some", "spelled", "stale", "state_objections", "storable",
    "strays_of", "to_document", "total", "union", "union_of", "until", "waiting_since", "why_unusable", "without",
]  # fmt: skip

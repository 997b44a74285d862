"""The section `limits`: what a plan may do, how old its sources may be, and how many bad rows they may have."""

from typing import Annotated

from chatsync.config.durations import Seconds
from chatsync.config.section import ClientId, Count, Percent, Section


class Limits(Section, frozen=True, kw_only=True):
    """What a plan may do. A plan over a limit is refused as a whole.

    `--force` overrides the limits, except an empty list and `must_contain`.
    """

    turn_on_percent: Annotated[Percent, "most clients to turn on, in percent of the clients that are off now"] = 30
    turn_off_percent: Annotated[
        Percent, "most clients to turn off, in percent of the clients that are off now; a first fill needs `--force`"
    ] = 30
    free: Annotated[
        Count,
        "plans of up to this many changes are exempt from both percentages, except when 10 or more clients are off "
        "and more than half of them would be turned on",
    ] = 20
    turn_on_max: Annotated[Count | None, "most clients to turn on, whatever the percentages say; also below `free`"] = (
        None
    )
    turn_off_max: Annotated[
        Count | None, "most clients to turn off, whatever the percentages say; also below `free`"
    ] = None
    rejected_percent: Annotated[
        Percent,
        "most rows of the list that hold no client id, in percent of its rows; up to `free` of them are exempt, "
        "unless they are more than half",
    ] = 1
    unknown_percent: Annotated[
        Percent,
        "most listed clients that live on no shard, in percent of the listed clients; up to `free` of them are "
        "exempt, unless they are more than half",
    ] = 10
    must_contain: Annotated[
        tuple[ClientId, ...], "client ids that the right list always contains; a list without them is the wrong list"
    ] = ()
    plan_max_age: Annotated[Seconds, "how old a plan may be when `apply` or `set-modtime` reads it"] = Seconds.parse(
        "1h"
    )
    export_max_age: Annotated[
        Seconds, "how old an export may be, for `diff` and again for `apply`; no option overrides this"
    ] = Seconds.parse("36h")
    contradicted_percent: Annotated[
        Percent,
        "most differences between list and export that the databases contradict, in percent of the differences; up "
        "to `free` of them are exempt; no option overrides this",
    ] = 50

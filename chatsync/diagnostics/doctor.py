"""Checks of everything that the configuration names. Nothing here writes; a failed check is a line like the others."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chatsync.cancel_scope import CancelScope
from chatsync.config.databases import exposed_files
from chatsync.config.settings import Settings
from chatsync.core import (
    NEVER,
    ModTimeState,
    counted,
    modtime_meaning,
    modtime_state,
    older_message,
    short_time,
)
from chatsync.databases.dict_database import DictDatabase
from chatsync.errors import ChatsyncError, ConfigError
from chatsync.sync.planner import make_plan
from chatsync.sync.report import strays_line

_PARTS_NAMED = 5


class Mark(StrEnum):
    """How a check went."""

    GOOD = "✓"
    WARNING = "!"
    BAD = "✗"


@dataclass(frozen=True, kw_only=True)
class Line:
    """The outcome of one check, or of `count` similar ones. If it is not good, `text` says what to do."""

    mark: Mark
    part: str
    text: str
    count: int = 1

    def __str__(self) -> str:
        """Format the line for printing."""
        return f"{self.mark} {self.part:<10} {' '.join(self.text.split())}"


def good(part: str, text: str) -> Line:
    """Return the line of a check without a problem."""
    return Line(mark=Mark.GOOD, part=part, text=text)


def warning(part: str, text: str) -> Line:
    """Return the line about something that works but should be changed."""
    return Line(mark=Mark.WARNING, part=part, text=text)


def bad(part: str, text: str) -> Line:
    """Return the line about something that prevents the job from working."""
    return Line(mark=Mark.BAD, part=part, text=text)


def folded(lines: Iterable[Line]) -> list[Line]:
    """Join lines that differ only in their part, at the position of the first; failures are not joined."""
    alike: dict[tuple[object, ...], list[Line]] = {}
    for number, line in enumerate(lines):
        key = (number,) if line.mark is Mark.BAD else (line.mark, line.text)
        alike.setdefault(key, []).append(line)
    return [_joined(group) if len(group) > 1 else group[0] for group in alike.values()]


def _joined(lines: Sequence[Line]) -> Line:
    parts = [line.part for line in lines]
    more = f" and {len(parts) - _PARTS_NAMED} more" if len(parts) > _PARTS_NAMED else ""
    text = f"{lines[0].text} ({len(lines)}: {', '.join(parts[:_PARTS_NAMED])}{more})"
    return Line(mark=lines[0].mark, part="databases", text=text, count=len(lines))


def totals(lines: Iterable[Line]) -> str:
    """Return how many checks there were, and how many of them failed or warned."""
    counts = Counter[Mark]()
    for line in lines:
        counts[line.mark] += line.count
    checks, warnings = counted(counts.total(), "check"), counted(counts[Mark.WARNING], "warning")
    return f"{checks}: {counts[Mark.BAD]} failed, {warnings}"


def in_words(error: ChatsyncError, *, hint: str, where: str = "") -> str:
    """Return an error's text without the part about retries, and with a hint."""
    told = ChatsyncError(error.what, where=where or error.where, way_out=hint if error.gave_up else error.way_out)
    return str(told)


def check_config(settings: Settings) -> Iterator[Line]:
    """Yield the lines about a configuration that was loaded, so it has no unknown or missing keys."""
    yield good("config", f"{settings.path}: every key is known, {counted(len(settings.databases.shards), 'shard')}")
    for file in exposed_files(settings):
        yield warning("config", f"{file} holds a password and others may read it: chmod 600")


def check_job(settings: Settings, scope: CancelScope, list_time: datetime | None) -> Iterator[Line]:
    """Look up the feature, the mod-time and the shards; `list_time` is None when the list can't be read."""
    checks = {"feature": _check_feature, "mod-time": _check_modtime, "shards": _check_shards}
    with DictDatabase(settings, scope) as dict_database:
        for part, check in checks.items():
            try:
                yield from check(settings, dict_database, list_time)
            except ConfigError as error:  # no such feature: one line is enough
                if part == "feature":
                    yield bad(part, str(error))
            except ChatsyncError as error:
                yield bad(part, in_words(error, hint="see the dict database above"))


def _check_feature(settings: Settings, dict_database: DictDatabase, _: datetime | None) -> Iterator[Line]:
    yield good("feature", f"{settings.feature.name} has id {dict_database.feature_id()}")


def _check_modtime(_: Settings, dict_database: DictDatabase, list_time: datetime | None) -> Iterator[Line]:
    state = dict_database.state()
    if state.modtime is None:
        fill = "for the first fill, with no client off yet, use apply --force"
        yield good("mod-time", f"not set: no list was ever synced; {fill}")
        return
    # Without the list, the oldest possible one: then only a disabled job is told.
    compared = list_time or NEVER
    meaning = modtime_meaning(state, list_time=compared)
    if state.is_disabled:
        yield warning("mod-time", f"{meaning}; `chatsync set-modtime --reset` switches it on again")
    elif list_time and modtime_state(state, list_time=list_time) is ModTimeState.LIST_IS_OLDER:
        yield warning("mod-time", older_message(state, list_time=list_time))
    else:
        yield good("mod-time", f"{short_time(state.modtime)}{f': {meaning}' if list_time else ''}")


def _check_shards(settings: Settings, dict_database: DictDatabase, _: datetime | None) -> Iterator[Line]:
    found = dict_database.count_by_shard()
    known = set(settings.databases.shards)
    forgotten, idle = sorted(set(found) - known), sorted(known - set(found))
    for shard in forgotten:
        clients = counted(found[shard], "client")
        yield bad("shards", f"{clients} on shard {shard}, which is missing from databases.shards; add it")
    if idle:
        names = ", ".join(map(str, idle))
        yield warning("shards", f"no client lives on shard {names} of databases.shards; is it the right dict database?")
    if not forgotten:
        yield good("shards", f"{counted(sum(found.values()), 'client')}, all on shards that databases.shards names")


def check_rows(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Count the clients that are off and the stray rows, unless other lines say why that is not possible."""
    try:
        plan = make_plan(settings, scope, trace_id="", if_modified=False, live=True).plan
    except ConfigError as error:  # a shard that is another one than its number says
        if error.what.startswith("databases.shards."):
            yield bad("shards", str(error))
        return
    except ChatsyncError:
        return
    if plan.strays:
        yield warning("rows", strays_line(plan))
    else:
        yield good("rows", f"{counted(plan.off_now or 0, 'client')} off, each by the row on its home shard")

"""The doctor's checks of what the job reads in the cluster or from a file: token, list, export and feedback."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chatsync.core import are_too_many_rejected, counted, distance, short_time
from chatsync.databases.dict_database import DictDatabase
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.errors import ChatsyncError
from chatsync.exclusions import cluster_side, open_list
from chatsync.sync.from_export import look_at_export, open_export
from chatsync.ytsaurus.token import WAYS, find_token

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import datetime

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Exclusions, Settings
    from chatsync.core import ExclusionList

_DEMO_CLIQUE = "ch_public"
_SAMPLE = 100_000  # rows of an export: three megabytes


def check_token(section: Exclusions) -> Iterator[Line]:
    """Yield the lines about the place of the YT token; the token itself is never shown."""
    try:
        token, place = find_token(section)
    except ChatsyncError as error:
        yield bad("token", str(error))
        return
    if not token:
        where = f"{place} is empty" if place else "there is none"
        ways = f"put it into {WAYS}"
        yield warning("token", f"{where}, which only a cluster without authentication accepts; {ways}")
        return
    yield good("token", f"found in {place}")
    if not place.startswith("$") and Path(place).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warning("token", f"others may read {place}: chmod 600")


def check_list(settings: Settings, scope: CancelScope) -> Generator[Line, None, datetime | None]:
    """Read the whole list as `diff` would, and return when it was modified; None when it can't be read."""
    try:
        with open_list(settings, scope) as source:
            version, kind, listed = source.version, source.kind(), source.read(_no_progress)
            warnings = source.warnings()
    except ChatsyncError as error:
        yield bad("list", in_words(error, hint="is exclusions.proxy right?"))
        return None
    rows = counted(listed.rows, "row")
    yield good("list", f"{version.source}: {kind}, {rows}, modified {short_time(version.modified)}")
    yield from (warning("token", text) for text in warnings)
    yield from _check_rows(settings, listed)
    return version.modified


def _check_rows(settings: Settings, listed: ExclusionList) -> Iterator[Line]:
    missing = [client for client in settings.limits.must_contain if client not in listed.ids]
    clients, duplicates = counted(len(listed.ids), "client"), counted(listed.duplicates, "duplicate")
    found = f"{clients}, {duplicates}, {counted(listed.rejected_count, 'rejected row')}"
    if missing:
        yield bad("list", f"{found}, and not client {missing[0]} of limits.must_contain: is it the right list?")
    elif not listed.ids:
        yield bad("list", f"{found}: apply refuses an empty list; check exclusions.column")
    elif are_too_many_rejected(listed.rejected_count, listed.rows, settings.limits):
        first = listed.rejected[0]
        limit = f"limits.rejected_percent = {settings.limits.rejected_percent:g}"
        yield bad("list", f"{found}, over {limit}; row {first.row}, {first.value!r}, is {first.reason}")
    else:
        yield good("list", found)


def check_export(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Lock the export as `diff` would, and tell its age; only its first rows are read."""
    try:
        with open_list(settings, scope) as source, DictDatabase(settings, scope) as dict_database:
            state = dict_database.state()
            export = open_export(settings, scope, source.cluster)
            part = look_at_export(export, settings, scope, now=state.now)
            yield good("export", export.shape())
            age = f"as of {short_time(export.as_of)}, {distance(export.as_of, now=state.now)}"
            if part.unused is not None:
                yield warning("export", f"diff does not use it now: {part.unused}")
            else:
                yield good("export", f"{age}, after the last apply: diff uses it")
            yield from _about_rows(export.sample(state.feature_id, most=_SAMPLE), state.feature_id)
            if settings.export.clique:
                yield from _check_clique(settings.export.clique, partial(export.check, state.feature_id))
    except ChatsyncError as error:
        yield bad("export", in_words(error, hint="are the keys of [export] right?"))


def _about_rows(found: tuple[int, int] | None, feature_id: int) -> Iterator[Line]:
    """Yield the line about the first rows of an export: how many these are, and how many are of the feature."""
    if found is None:
        return
    rows, ours = found
    first = f"the first {counted(rows, 'row')}"
    if ours:
        yield good("export", f"{ours} of {first} are of feature {feature_id}, and none is broken")
    else:
        yield warning("export", f"none of {first} is of feature {feature_id}: check export.feature")


def _check_clique(name: str, check: Callable[[], None]) -> Iterator[Line]:
    try:
        check()
        yield good("clique", f"{name} can read and compare both sides")
    except ChatsyncError as error:
        yield bad("clique", in_words(error, hint="diff needs it"))
    if name.removeprefix("*") == _DEMO_CLIQUE:
        yield warning("clique", f"{name} is for trying things out: name one of your own in export.clique")


def check_feedback(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Write the table feedback.path as a run does, and take it back; without the key, say nothing."""
    if not settings.feedback.path:
        return
    try:
        cluster_side(settings, scope).replace_feedback([], {}, trial=True)
    except ChatsyncError as error:
        yield bad("feedback", in_words(error, hint="see the list above"))
    else:
        yield good("feedback", f"the table {settings.feedback.path} was written and taken back")


def _no_progress(_rows: int) -> None:
    pass

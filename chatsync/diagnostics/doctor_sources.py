"""The doctor's checks of what the job reads in the cluster or from a file: token, list, export and feedback."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from chatsync.core import are_too_many_rejected, counted, distance, short_time, why_unusable
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.last_apply import read_last_apply
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.errors import ChatsyncError
from chatsync.exclusions import cluster_side, open_list
from chatsync.ytsaurus.token import WAYS, find_token

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

    from chatsync.cancel_scope import CancelScope
    from chatsync.config.settings import Exclusions, Settings
    from chatsync.core import ExclusionList

_DEMO_CLIQUE = "ch_public"


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
    """Lock the export as `diff` would, and tell its age; nothing of it is read."""
    try:
        with open_list(settings, scope) as source, DictDatabase(settings, scope) as dict_database:
            state = dict_database.state()
            export = cluster_side(settings, scope).open_export(source.cluster)
            last_apply = read_last_apply(settings, scope)
            yield good("export", export.shape())
            age = f"as of {short_time(export.as_of)}, {distance(export.as_of, now=state.now)}"
            why = why_unusable(export.as_of, last_apply=last_apply, now=state.now, limits=settings.limits)
            if why:
                yield warning("export", f"diff does not use it now: {why}")
            else:
                yield good("export", f"{age}, after the last apply: diff uses it")
            export.check()
            if clique := settings.export.clique:
                yield from _about_clique(clique)
    except ChatsyncError as error:
        yield bad("export", in_words(error, hint="are the keys of [export] right?"))


def _about_clique(name: str) -> Iterator[Line]:
    yield good("clique", f"{name} answers")
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

"""Looking over everything that the configuration names, for the person who installs or mends it.

Nothing here writes. What fails is a line, and the next check is made all the same.
"""

import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import exposes_password
from chatsync.config.settings import Exclusions, Settings
from chatsync.core.diff import ExclusionList, ListVersion
from chatsync.core.times import short_time
from chatsync.errors import ChatsyncError


class Mark(StrEnum):
    """How a check went."""

    GOOD = "✓"
    WARNING = "!"
    BAD = "✗"


@dataclass(frozen=True, kw_only=True)
class Line:
    """The outcome of one check; `text` says what to do unless all is well."""

    mark: Mark
    part: str
    text: str

    def __str__(self) -> str:
        """Put it on one line."""
        return f"{self.mark} {self.part:<10} {' '.join(self.text.split())}"


def good(part: str, text: str) -> Line:
    """Say that all is well."""
    return Line(mark=Mark.GOOD, part=part, text=text)


def warning(part: str, text: str) -> Line:
    """Say what works but should not stay so."""
    return Line(mark=Mark.WARNING, part=part, text=text)


def bad(part: str, text: str) -> Line:
    """Say what keeps the job from working."""
    return Line(mark=Mark.BAD, part=part, text=text)


def check_config(settings: Settings) -> Iterator[Line]:
    """Describe a configuration that was loaded, and so has no unknown or missing key."""
    yield good("config", f"{settings.path}: every key is known, {len(settings.databases.shards)} shards")
    if exposes_password(settings):
        yield warning("config", f"{settings.path} holds a password and others may read it: chmod 600, or use ${{NAME}}")


def check_token(section: Exclusions) -> Iterator[Line]:
    """Say where the YT token is, never what it is."""
    from chatsync.ytsaurus.client import find_token  # late: a list in a file needs no YT client

    try:
        token, place = find_token(section)
    except ChatsyncError as error:
        yield bad("token", str(error))
        return
    if not token:
        where = f"{place} is empty" if place else "there is none"
        ways = "set $YT_TOKEN, or write it to ~/.yt/token or exclusions.token_file"
        yield warning("token", f"{where}, which only a cluster without authentication accepts; {ways}")
        return
    yield good("token", f"found in {place}")
    if not place.startswith("$") and Path(place).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warning("token", f"others may read {place}: chmod 600")


def check_list(settings: Settings, scope: CancelScope) -> Generator[Line, None, datetime | None]:
    """Read the list as `diff` would, whole, and return when it was modified."""
    read = _read_file if settings.exclusions.file else _read_table
    try:
        version, kind, listed = read(settings.exclusions, scope)
    except ChatsyncError as error:
        yield bad("list", in_words(error, hint="is exclusions.proxy right?"))
        return None
    yield good("list", f"{version.source}: {kind}, {listed.rows} rows, modified {short_time(version.modified)}")
    yield from _check_rows(settings, listed)
    return version.modified


def _read_file(section: Exclusions, scope: CancelScope) -> tuple[ListVersion, str, ExclusionList]:
    from chatsync.exclusions.file import open_file

    with open_file(section, scope) as file:
        return file.version, "a file", file.read(_say_nothing)


def _read_table(section: Exclusions, scope: CancelScope) -> tuple[ListVersion, str, ExclusionList]:
    from chatsync.ytsaurus.table import open_table

    with open_table(section, scope) as table:
        kind = table.column_type()
        typed = f"of type {kind}" if kind else "not in its schema"
        return table.version, f"a static table with column {section.column} {typed}", table.read(_say_nothing)


def _say_nothing(_rows: int) -> None:
    pass


def _check_rows(settings: Settings, listed: ExclusionList) -> Iterator[Line]:
    missing = [client for client in settings.limits.must_contain if client not in listed.ids]
    found = f"{len(listed.ids)} clients, {listed.duplicates} duplicates, {listed.rejected_count} rejected rows"
    if missing:
        yield bad("list", f"{found}, and not client {missing[0]} of limits.must_contain: is it the right list?")
    elif not listed.ids:
        yield bad("list", f"{found}: apply refuses an empty list; check exclusions.column")
    elif listed.rejected_count * 100 > settings.limits.rejected_percent * listed.rows:
        first = listed.rejected[0]
        limit = f"limits.rejected_percent = {settings.limits.rejected_percent:g}"
        yield bad("list", f"{found}, over {limit}; row {first.row}, {first.value!r}, is {first.reason}")
    else:
        yield good("list", found)


def in_words(error: ChatsyncError, *, hint: str) -> str:
    """Tell an error to somebody who sits and waits: with a hint, where the job would try again for long."""
    text, tried_again, _ = str(error).partition("; it was tried again")
    return f"{text}; {hint}" if tried_again else text


def check_folders(settings: Settings) -> Iterator[Line]:
    """See by their permissions whether records and metrics could be written."""
    if settings.records.dir:
        folder = Path(settings.records.dir)
        # Its first run makes the folder itself, but not the one around it.
        yield _folder("records", "records.dir", folder if folder.exists() else folder.parent, shown=folder)
    else:
        yield warning("records", "records.dir is not set: history, explain and apply --undo will know nothing")
    if settings.metrics.textfile:
        file = Path(settings.metrics.textfile)
        yield _folder("metrics", "metrics.textfile", file.parent, shown=file)
    else:
        yield good("metrics", "none asked for (metrics.textfile)")


def _folder(part: str, key: str, folder: Path, *, shown: Path) -> Line:
    if not folder.is_dir():
        return bad(part, f"{key}: there is no folder {folder}; make it, or mend the key")
    if not os.access(folder, os.W_OK | os.X_OK):
        return bad(part, f"{key}: this user may not write into {folder}; run as another user, or chown it")
    return good(part, f"{shown} can be written")

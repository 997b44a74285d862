"""Checks of the export and of the clique: that they can be read, how old the export is, and whether `diff` uses it."""

from collections.abc import Iterator

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import counted, distance, short_time, why_unusable
from chatsync.databases.dict_database import DictDatabase
from chatsync.databases.last_apply import read_last_apply
from chatsync.diagnostics.doctor import Line, bad, good, in_words, warning
from chatsync.errors import ChatsyncError
from chatsync.exclusions import open_list
from chatsync.export.on_clique import clique_of
from chatsync.export.source import ExportSource

_DEMO_CLIQUE = "ch_public"


def check_export(settings: Settings, scope: CancelScope) -> Iterator[Line]:
    """Lock the export as `diff` would, and tell its age; nothing of it is read."""
    try:
        with open_list(settings, scope) as source, DictDatabase(settings, scope) as dict_database:
            state = dict_database.state()
            export = ExportSource(settings, scope, source.cluster)
            last_apply = read_last_apply(settings, scope)
            yield good("export", _kinds(export))
            age = f"as of {short_time(export.as_of)}, {distance(export.as_of, now=state.now)}"
            why = why_unusable(export.as_of, last_apply=last_apply, now=state.now, limits=settings.limits)
            if why:
                yield warning("export", f"diff does not use it now: {why}")
            else:
                yield good("export", f"{age}, after the last apply: diff uses it")
            if settings.export.clique:
                yield from _check_clique(export)
    except ChatsyncError as error:
        yield bad("export", in_words(error, hint="are the keys of [export] right?"))


def _kinds(export: ExportSource) -> str:
    table = next(iter(export.tables.values()))
    columns = ", ".join(f"{name} {kind or 'of any type'}" for name, kind in table.kinds.items())
    rows = sum(one.row_count or 0 for one in export.tables.values())
    return f"{export.source}: {counted(len(export.tables), 'table')}, {rows} rows, {columns}"


def _check_clique(export: ExportSource) -> Iterator[Line]:
    name = export.settings.export.clique
    clique_of(export).ask("SELECT 1", bytes)
    yield good("clique", f"{name} answers")
    if name.removeprefix("*") == _DEMO_CLIQUE:
        yield warning("clique", f"{name} is for trying things out: name one of your own in export.clique")

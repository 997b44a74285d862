"""The comparison on a clique: one statement, and all checks of its answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chatsync.core import ExclusionList, PlanExclusions, Rejected, counted
from chatsync.errors import SourceError
from chatsync.export.answer import Answer, Row, read_answer
from chatsync.export.source import Comparison, ExportSource
from chatsync.ytsaurus.clique import Clique
from chatsync.ytsaurus.export_table import ExportTable, check_unchanged, lock_together
from chatsync.ytsaurus.statement import BROKEN, DIFFERENT, OURS, Sides, statement

_REJECTED_KEPT = 100
_MOST_TABLES = 250
_BROKEN, _DOUBLED = (f"an export with {what} is not used" for what in ("a broken row", "duplicate rows"))


class ExportOnClique(ExportSource):
    """An export that export.clique compares with the list."""

    @property
    def compared_by(self) -> str:
        """Which clique compares."""
        return f"clique {self.settings.export.clique}"

    def compare(self, unread: PlanExclusions, read_list: Callable[[], ExclusionList], *, feature_id: int) -> Comparison:
        """Compare the locked list and export on the clique, which reads both.

        Raises SourceError for an answer that is incomplete or contradicts itself, and ChangedError for a table that
        was written meanwhile: then it is not known which version the clique has read.
        """
        del read_list
        listed = self._lock_list()
        answer: Answer = self._clique().ask(statement(_sides(listed, self, feature_id)), read_answer)
        check_unchanged(self.cluster.client, [listed, *self.tables.values()], self.scope)
        _check_rows(answer.list_rows, listed)
        _check_export(answer.export, self, feature_id)
        return Comparison(
            exclusions=_list_part(answer, unread, self.settings.limits.must_contain),
            turn_off=answer.turn_off,
            turn_on=answer.turn_on,
            off_count=answer.off,
            rows={shard: row.rows for shard, row in answer.export.items()},
        )

    def check(self, feature_id: int) -> None:
        """Ask the clique to compare no rows: it needs the same permissions, settings, columns and types.

        Raises SourceError as a comparison does.
        """
        sides = replace(_sides(self._lock_list(), self, feature_id), is_trial=True)
        self._clique().ask(statement(sides), read_answer)

    def _lock_list(self) -> ExportTable:
        section, attribute = self.settings.exclusions, "modification_time"
        listed = ExportTable(self.cluster, section.path, self.scope, columns=[section.column], time_attribute=attribute)
        lock_together(self.cluster.client, [listed], self.scope)
        return listed

    def _clique(self) -> Clique:
        section = self.settings.export
        return Clique(self.cluster, section.clique, self.scope, timeout=section.timeout, settings=section.settings)


def _sides(listed: ExportTable, export: ExportSource, feature_id: int) -> Sides:
    settings, tables = export.settings, list(export.tables.values())
    return Sides(
        list_path=settings.exclusions.path,
        list_column=settings.exclusions.column,
        list_kind=_kind(listed, settings.exclusions.column),
        tables={shards[0]: table.path for shards, table in export.tables.items()},
        columns=list(tables[0].kinds)[:3],
        kinds=_kinds(tables, export.source),
        shard_column=settings.export.shard_column,
        feature_id=feature_id,
        must_contain=settings.limits.must_contain,
    )


def _kinds(tables: Sequence[ExportTable], source: str) -> list[str]:
    """Return the types of the columns, which must be those of all tables."""
    if len(tables) > _MOST_TABLES:
        what = f"{len(tables)} tables are more than the {_MOST_TABLES} that a clique reads together"
        raise SourceError(what, where=source, way_out="leave out export.clique")
    first, *others = ([_kind(table, column) for column in table.kinds] for table in tables)
    for table, kinds in zip(tables[1:], others, strict=True):
        if kinds != first:
            where, way_out = str(table), "leave out export.clique, or have all tables written with the same types"
            raise SourceError(f"its columns are of other types than those of {tables[0]}", where=where, way_out=way_out)
    return first


def _kind(table: ExportTable, column: str) -> str:
    kind = table.kinds[column]
    if kind is None or kind == "any":
        way_out = "leave out export.clique, or have the table written with a type for this column"
        raise SourceError(f"a clique cannot read column {column!r} without a type", where=str(table), way_out=way_out)
    return kind


def _check_rows(count: int, table: ExportTable) -> None:
    if table.row_count is not None and count != table.row_count:
        what = f"the clique read {count} of {table.row_count} rows; an incomplete table is not used"
        raise SourceError(what, where=str(table))


def _check_export(found: Mapping[int, Row], export: ExportSource, feature_id: int) -> None:
    """Raise SourceError for faulty rows: those for which `ExportRows` raises it, but counted for each shard."""
    for shards, table in export.tables.items():
        strange = [shard for shard in found if shard not in export.shards]
        if strange:
            rows = counted(found[strange[0]].rows, "row")
            what = f"{rows} of shard {strange[0]}, which is missing from databases.shards"
            raise SourceError(what, where=export.source)
        _check_rows(sum(found[shard].rows for shard in shards if shard in found), table)
    for shard, row in sorted(found.items()):
        where, numbers = f"the export of shard {shard}, {export.source}", row.numbers
        if numbers[BROKEN]:
            what = f"{counted(numbers[BROKEN], 'row')} without a client id, a feature id, or 0 or 1; {_BROKEN}"
            raise SourceError(what, where=where, way_out="tell its owners")
        if numbers[OURS] != numbers[DIFFERENT]:
            what = f"{numbers[OURS]} rows of the feature for {counted(numbers[DIFFERENT], 'client')}; {_DOUBLED}"
            raise SourceError(what, where=where, way_out="tell its owners")
    ours = {shard: row.numbers[OURS] for shard, row in found.items()}
    export.check_rows({shard: row.rows for shard, row in found.items()}, ours, feature_id)


def _list_part(answer: Answer, version: PlanExclusions, must_contain: tuple[int, ...]) -> PlanExclusions:
    """Describe the list; its rejected rows have no row numbers, and only some of them are shown."""
    rejected = sum(answer.rejected.values())
    duplicates = answer.list_rows - rejected - answer.listed
    if duplicates < 0:
        raise SourceError(f"{answer.listed} clients in {answer.list_rows} rows, of which {rejected} hold none")
    shown = [Rejected(row=None, value=_printable(text), reason=reason) for reason, text in answer.samples]
    return PlanExclusions(
        source=version.source,
        modification_time=version.modification_time,
        revision=version.revision,
        rows=answer.list_rows,
        clients=answer.listed,
        duplicates=duplicates,
        rejected=tuple(shown[:_REJECTED_KEPT]),
        rejected_count=rejected,
        present=tuple(answer.present),
        missing=tuple(sorted({client for client in must_contain if client not in answer.present})),
    )


def _printable(text: str) -> str:
    """Format a cell as for a list that this program reads: on one line, at most 60 characters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 60 else shown[:60] + "…"  # noqa: PLR2004  # as many as fit on a line

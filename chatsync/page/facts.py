"""Everything that the page shows, read once and put into words. Writes nothing and takes no lock."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from pyroaring import BitMap64

from chatsync.core import Action, Rejected, union
from chatsync.diagnostics.client_facts import job_facts, refusals
from chatsync.diagnostics.status import Status
from chatsync.language import Language
from chatsync.page import charts, runs
from chatsync.page.headline import Headline, headline, notes
from chatsync.page.lookup import CLIENT, Answer, answers
from chatsync.sync.record import Record

# A page with more clients would be slow to open. So many rows to repair usually have one common mistake.
MOST_CLIENTS = 100_000
MOST_ROWS = 5000
# Clients that runs have changed. Reading the record of a thousand takes 2 ms.
MOST_CHANGED = 10_000
_BARS = 40

_CELLS = re.compile(r"(\d+) cells?, the header has (\d+)")


@dataclass(kw_only=True)
class Seen(Status):
    """What `status` sees, with the recorded runs in `runs`, and the first rows of the list without a client id.

    Records are read, the newest first, until they name as many clients as a page may have; usually that is all of
    them. `asked` are these clients; it is empty if `shows_clients` is false.
    """

    shows_clients: bool
    to_repair: list[Rejected] = field(default_factory=list)

    def read_runs(self) -> None:
        """Read the records, and ask for the clients in them."""
        named = BitMap64()

        def are_enough(record: Record) -> bool:
            clients = record.planned if record.is_open else record.touched
            named.update(*(clients(action) for action in Action))
            return len(named) >= MOST_CHANGED

        self.read_records(until=are_enough)
        if self.shows_clients:
            self.asked = named

    def keep_rejected(self, row: Rejected) -> None:
        """Keep a row for the page."""
        super().keep_rejected(row)
        if len(self.to_repair) < MOST_ROWS:
            self.to_repair.append(row)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row to repair: its line, or `#7` in a table, its cell (empty on a page without clients), and the reason."""

    number: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the template shows. Its texts are in the reader's language, and none of them is markup.

    If `shows_clients` is false, it has no client numbers: no answers, and rows to repair without their cells.
    `answers_about` says for which clients there are answers; `otherwise` is the answer for all others.
    """

    language: Language
    headline: Headline
    notes: Sequence[str]
    made: str
    modified: str
    place: str
    is_file: bool
    feature: str
    off: int | None
    rejected: int | None
    unknown: int | None
    shows_clients: bool
    answers_about: str
    otherwise: str
    answers: Sequence[Answer]
    points: Sequence[charts.Point]
    over_time: charts.Steps | None
    changes: Sequence[charts.Change]
    by_run: charts.Bars | None
    runs: Sequence[runs.Run]
    rows: Sequence[Row]
    unknown_ids: Sequence[int]


def make_page(seen: Seen, language: Language, *, clients: str, now: datetime) -> Page:
    """Put into words what was read. `now` is this machine's clock."""
    plan, listed, version = seen.plan, seen.listed, seen.version
    off_not_listed = union(plan.turn_on) if plan else BitMap64()
    wanted = len(listed.id_set | seen.asked | off_not_listed) if listed else 0
    everyone = clients == "all" and plan is not None and wanted <= MOST_CLIENTS
    about, otherwise = _about_answers(seen, language, everyone=everyone)
    if clients == "all" and wanted > MOST_CLIENTS:
        about = f"{language.say('lookup.too_many', number=language.number(wanted))} {about}"
    points = runs.off_over_time(seen.runs, off_now=plan.off_now if plan else None, now=now)
    changes = runs.changes_by_run(seen.runs, language, most=_BARS)
    return Page(
        language=language,
        headline=headline(seen, language),
        notes=list(notes(seen, language)),
        made=language.moment(now),
        modified=language.moment(version.modified) if version else "",
        place=_place(seen),
        is_file=bool(seen.settings.exclusions.file),
        feature=seen.settings.feature.name,
        off=plan.off_now if plan else None,
        rejected=listed.rejected_count if listed else None,
        unknown=len(plan.unknown) if plan else None,
        shows_clients=seen.shows_clients,
        answers_about=about,
        otherwise=otherwise,
        answers=_answers(seen, language, everyone=everyone) if seen.shows_clients else (),
        points=points,
        over_time=charts.step_line(points, write=language.number, write_day=language.short_day),
        changes=changes,
        by_run=charts.bars(changes, write=language.number, write_day=language.short_day),
        runs=runs.last_runs(seen.steps, seen.runs, language),
        rows=[_row(row, seen, language) for row in seen.to_repair],
        unknown_ids=list(plan.unknown[:MOST_ROWS]) if plan and seen.shows_clients else (),
    )


def _answers(seen: Seen, language: Language, *, everyone: bool) -> list[Answer]:
    job = job_facts(seen).refused(refusals(seen))
    return answers(seen, job, seen.to_repair, everyone=everyone, language=language)


def _about_answers(seen: Seen, language: Language, *, everyone: bool) -> tuple[str, str]:
    """Return the text about which clients have an answer, and the answer for all others."""
    day = language.day(seen.runs[-1].began) if seen.runs else ""
    if everyone:
        return language.say("lookup.knows_all"), language.say("lookup.not_listed", client=CLIENT)
    known = language.say("lookup.knows_changed" if day else "lookup.knows_none", day=day)
    otherwise = "lookup.unread" if "dict" in seen.errors else "lookup.not_here"
    return known, language.say(otherwise, client=CLIENT)


def _place(seen: Seen) -> str:
    """Return the name of the list that its owners know: the table's path or the file's name, no host and no folder."""
    section = seen.settings.exclusions
    return PurePosixPath(section.file).name if section.file else section.path


def _row(row: Rejected, seen: Seen, language: Language) -> Row:
    cells = _CELLS.fullmatch(row.reason)
    if cells:
        reason = language.say("reason.cells", count=int(cells[1]), width=cells[2])
    else:
        key = f"reason.{row.reason.replace(' ', '_')}"
        reason = language.say(key) if key in language.sentences else row.reason
    number = f"{row.row}" if seen.settings.exclusions.file else f"#{row.row}"
    return Row(number=number, value=row.value if seen.shows_clients else "", reason=reason)

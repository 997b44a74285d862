"""Where many clients live: asked over several connections at once."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from pyroaring import BitMap64

from chatsync.config.settings import Settings
from chatsync.core.diff import IdsByShard, chunks, storable
from chatsync.databases.dict_database import LOOKUP_SIZE, DictDatabase
from chatsync.parallel import SideBySide
from chatsync.run import Run

_CONNECTIONS = 4

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def find_homes(settings: Settings, run: Run, ids: BitMap64) -> IdsByShard:
    """Look up the shard of each client; a client on no shard is in no set of the answer."""
    found: dict[int, BitMap64] = {}
    for part in _ask_all(settings, run, list(chunks(storable(ids), LOOKUP_SIZE)), DictDatabase.homes):
        for shard, here in part.items():
            found[shard] = found.get(shard, BitMap64()) | here
    return found


def count_at_home(settings: Settings, run: Run, clients: IdsByShard) -> dict[int, int]:
    """Count on each shard who of its clients lives there: as safe as looking up each, and less to read."""
    questions = [(shard, chunk) for shard, ids in clients.items() for chunk in chunks(ids, LOOKUP_SIZE)]

    def ask(dict_database: DictDatabase, question: tuple[int, BitMap64]) -> tuple[int, int]:
        return question[0], dict_database.count_at_home(*question)

    counts = dict.fromkeys(clients, 0)
    for shard, count in _ask_all(settings, run, questions, ask):
        counts[shard] += count
    return counts


def _ask_all(
    settings: Settings, run: Run, questions: Sequence[Question], ask: Callable[[DictDatabase, Question], Answer]
) -> Iterable[Answer]:
    workers = min(_CONNECTIONS, len(questions))
    tasks = {number: partial(_ask_some, settings, run, questions[number::workers], ask) for number in range(workers)}
    for answers in SideBySide(tasks, workers=workers).results(run).values():
        yield from answers


def _ask_some(
    settings: Settings, run: Run, questions: Sequence[Question], ask: Callable[[DictDatabase, Question], Answer]
) -> list[Answer]:
    with DictDatabase(settings, run) as dict_database:
        return [ask(dict_database, question) for question in questions]

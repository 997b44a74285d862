"""Where many clients live: asked over several connections at once."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core.client_sets import IdsByShard, chunks, storable
from chatsync.databases.dict_database import LOOKUP_SIZE, DictDatabase
from chatsync.parallel import SideBySide

_CONNECTIONS = 4

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def find_homes(settings: Settings, scope: CancelScope, ids: BitMap64) -> IdsByShard:
    """Look up the shard of each client; a client on no shard is in no set of the answer."""
    found: dict[int, BitMap64] = {}
    for part in _ask_all(settings, scope, list(chunks(storable(ids), LOOKUP_SIZE)), DictDatabase.homes):
        for shard, here in part.items():
            found[shard] = found.get(shard, BitMap64()) | here
    return found


def count_at_home(settings: Settings, scope: CancelScope, clients: IdsByShard) -> dict[int, int]:
    """Count on each shard who of its clients lives there: as safe as looking up each, and less to read."""
    questions = [(shard, chunk) for shard, ids in clients.items() for chunk in chunks(ids, LOOKUP_SIZE)]

    def ask(dict_database: DictDatabase, question: tuple[int, BitMap64]) -> tuple[int, int]:
        return question[0], dict_database.count_at_home(*question)

    counts = dict.fromkeys(clients, 0)
    for shard, count in _ask_all(settings, scope, questions, ask):
        counts[shard] += count
    return counts


def _ask_all(
    settings: Settings,
    scope: CancelScope,
    questions: Sequence[Question],
    ask: Callable[[DictDatabase, Question], Answer],
) -> Iterable[Answer]:
    workers = min(_CONNECTIONS, len(questions))
    tasks = {number: partial(_ask_some, settings, scope, questions[number::workers], ask) for number in range(workers)}
    for answers in SideBySide(tasks, workers=workers).results(scope).values():
        yield from answers


def _ask_some(
    settings: Settings,
    scope: CancelScope,
    questions: Sequence[Question],
    ask: Callable[[DictDatabase, Question], Answer],
) -> list[Answer]:
    with DictDatabase(settings, scope) as dict_database:
        return [ask(dict_database, question) for question in questions]

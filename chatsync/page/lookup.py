"""The answers of the look-up field of the page: one sentence for each client, written into the page in advance."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyroaring import BitMap64

from chatsync.core import MAX_LIST_ID, Rejected, bitmap_of, union
from chatsync.diagnostics.answer import answer
from chatsync.diagnostics.client_facts import refused_in
from chatsync.diagnostics.explain import Chat, ClientFacts, JobFacts, chat
from chatsync.diagnostics.history import ClientChange, Since, client_changes, listed_since
from chatsync.diagnostics.survey import Survey, numbers_in
from chatsync.language import Language

# The page's script replaces this in a sentence by the client's number.
CLIENT = "{client}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer for some clients: whether they have the chat (`on`, `off`, `unknown`), and the sentence."""

    chat: str
    text: str
    ids: str


@dataclass(frozen=True, kw_only=True)
class _Situation:
    """Clients in the same situation: listed or not, their home shard (None: no shard), their row saying off or not."""

    ids: BitMap64
    listed: bool | None
    home: int | None
    is_off: bool


def answers(
    survey: Survey, job: JobFacts, to_repair: Iterable[Rejected], *, everyone: bool, language: Language
) -> list[Answer]:
    """Make the answers for the clients asked for in `survey`; with `everyone`, also for all that are listed or off.

    Clients in the same situation share one sentence: `explain`'s answer, and since when they are listed. For
    numbers that are only in rows `to_repair`, the answer is that row.
    """
    found: dict[tuple[str, str], BitMap64] = {}
    situations = [situation for situation in _situations(survey, everyone=everyone) if situation.ids]
    changes = client_changes(survey.runs, BitMap64().union(*(there.ids for there in situations)))
    since = listed_since(survey.runs, BitMap64().union(*(there.ids for there in situations if there.listed)))
    refused = refused_in(survey.runs, survey.asked)
    for situation in situations:
        for facts, ids in _alike(situation, changes, since, refused):
            text = answer(facts, job, language, client=CLIENT)
            if facts.listed and facts.listed_since:
                day = language.day(facts.listed_since.plan.list_time)
                text = f"{text} {language.say('lookup.listed_since', day=day)}"
            found.setdefault((chat(facts, job).value, text), BitMap64()).update(ids)
    told = BitMap64().union(*found.values()) | (survey.listed.id_set if survey.listed else BitMap64())
    return [
        *(Answer(chat=state, text=text, ids=" ".join(map(str, ids))) for (state, text), ids in found.items()),
        *_in_rows(to_repair, told, language),
    ]


def _in_rows(to_repair: Iterable[Rejected], told: BitMap64, language: Language) -> Iterator[Answer]:
    for row in to_repair:
        for number in numbers_in(row.value) - {0}:
            if number <= MAX_LIST_ID and number not in told:
                told.add(number)
                about = language.say("answer.rejected", row=row.row, value=row.value)
                text = language.say("lookup.rejected", client=CLIENT, about=about)
                yield Answer(chat=Chat.UNKNOWN.value, text=text, ids=str(number))


def _situations(survey: Survey, *, everyone: bool) -> Iterator[_Situation]:
    yield from _of_asked(survey)
    plan, listed, asked = survey.plan, survey.listed, survey.asked
    if not everyone or plan is None or listed is None:
        return
    # All clients that were compared live on a shard that was read; it does not matter on which one.
    home = next(iter(survey.settings.databases.shards))
    turn_off, turn_on = union(plan.turn_off), union(plan.turn_on)
    yield _Situation(ids=turn_off - asked, listed=True, home=home, is_off=False)
    yield _Situation(ids=turn_on - asked, listed=False, home=home, is_off=True)
    yield _Situation(ids=plan.unknown - asked, listed=True, home=None, is_off=False)
    yield _Situation(ids=listed.id_set - turn_off - plan.unknown - asked, listed=True, home=home, is_off=True)


def _of_asked(survey: Survey) -> Iterator[_Situation]:
    homeless = survey.asked - union(survey.homes)
    for home, ids in [*survey.homes.items(), (None, homeless)]:
        off = BitMap64() if home is None or home not in survey.off else bitmap_of(survey.off[home])
        for here, is_off in ((ids & off, True), (ids - off, False)):
            if survey.listed is None:
                yield _Situation(ids=here, listed=None, home=home, is_off=is_off)
            else:
                yield _Situation(ids=here & survey.listed.id_set, listed=True, home=home, is_off=is_off)
                yield _Situation(ids=here - survey.listed.id_set, listed=False, home=home, is_off=is_off)


def _alike(
    situation: _Situation, changes: Mapping[int, list[ClientChange]], since: Since, refused: Since
) -> Iterator[tuple[ClientFacts, list[int]]]:
    """Group the clients of a situation by what the runs did to them; yield the facts of one, and the ids of all."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for client in situation.ids:
        done: Sequence[ClientChange] = changes.get(client, ())
        # An answer depends on the last change and on the last certain one.
        sure = next((change for change in done if change.certain), None)
        key = (id(done[0]) if done else 0, id(sure), id(since.get(client)), id(refused.get(client)))
        groups.setdefault(key, []).append(client)
    home = situation.home
    for ids in groups.values():
        facts = ClientFacts(
            client=ids[0],
            listed=situation.listed,
            listed_since=since.get(ids[0]),
            home=home,
            rows={} if home is None or not situation.is_off else {home: False},
            client_changes=changes.get(ids[0], ()),
            refused_in=refused.get(ids[0]),
        )
        yield facts, ids

"""Every language has every sentence, with the same names in it, and counts as its grammar says."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

import chatsync
from chatsync.config.settings import People
from chatsync.exclusions.client_ids import client_id
from chatsync.language import LANGUAGES, Language

CODE = Path(chatsync.__file__).parent
ENGLISH, RUSSIAN = LANGUAGES["en"], LANGUAGES["ru"]
FORMS = {"en": 2, "ru": 3}


def names(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def forms(sentence: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sentence,) if isinstance(sentence, str) else sentence


def test_every_language_has_the_same_sentences() -> None:
    assert list(ENGLISH.sentences) == list(RUSSIAN.sentences)


@pytest.mark.parametrize("key", ENGLISH.sentences)
def test_a_sentence_has_the_same_names_in_every_language_and_form(key: str) -> None:
    """A form that stands for one alone may do without the number."""
    found = {code: [names(form) for form in forms(language.sentences[key])] for code, language in LANGUAGES.items()}

    assert len({frozenset(set().union(*each) - {"count"}) for each in found.values()}) == 1
    for code, each in found.items():
        assert len(each) in (1, FORMS[code])
        assert len({frozenset(one - {"count"}) for one in each}) == 1 or code == "en"


def test_every_sentence_is_used() -> None:
    """Keys are made of parts in places: then the part before the last dot stands in the code."""
    sources = [*CODE.rglob("*.py"), *CODE.rglob("*.html")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.parent.name != "language")
    text += (CODE / "language" / "__init__.py").read_text(encoding="utf-8")
    used = set(re.findall(r"[\"'](?:\w+\.)*\w+\.?(?=[\"'{_])|(?<=[\"'])(?:\w+\.)+(?=\{)", text))
    used = {word.strip("\"'.") for word in used}

    assert [
        key for key in ENGLISH.sentences if not {key, key.rpartition(".")[0], key.removesuffix("_since")} & used
    ] == []


def test_every_sentence_that_is_asked_for_is_there() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in [*CODE.rglob("*.py"), *CODE.rglob("*.html")]}
    asked = {key for text in sources.values() for key in re.findall(r"\bsay\(\s*\"([\w.]+)\"(?! ~)", text)}

    assert len(asked) > 40
    assert asked - set(ENGLISH.sentences) == set()


def test_every_reason_for_which_a_row_is_left_out_has_a_sentence() -> None:
    cells = (None, "x", "1.5", 0, -1, 2**63)
    reasons = {str(client_id(cell)).replace(" ", "_") for cell in cells}

    assert {f"reason.{reason}" for reason in reasons} == {
        key for key in ENGLISH.sentences if key.startswith("reason.") and key != "reason.cells"
    }


def test_the_configuration_takes_the_languages_that_there_are() -> None:
    hint = get_type_hints(People, include_extras=True)["language"]
    (pattern,) = [extra.pattern for extra in get_args(hint) if isinstance(extra, msgspec.Meta)]

    assert pattern == f"^({'|'.join(LANGUAGES)})$"


@pytest.mark.parametrize(
    ("count", "form"),
    [(0, 2), (1, 0), (2, 1), (4, 1), (5, 2), (11, 2), (12, 2), (14, 2), (21, 0), (22, 1), (111, 2), (1001, 0)],
)
def test_russian_counts(count: int, form: int) -> None:
    assert RUSSIAN.form(count) == form
    assert ENGLISH.form(count) == (0 if count == 1 else 1)


def test_numbers_days_and_times() -> None:
    moment = datetime(2026, 11, 2, 14, 5, 59, tzinfo=UTC)

    def written(language: Language) -> list[str]:
        return [language.number(1234567), language.moment(moment), language.moment(datetime(2026, 11, 2, tzinfo=UTC))]

    assert written(ENGLISH) == ["1,234,567", "2026-11-02 14:05 UTC", "2026-11-02"]
    assert written(RUSSIAN) == ["1\xa0234\xa0567", "02.11.2026 14:05 UTC", "02.11.2026"]


@pytest.mark.parametrize(
    ("span", "english", "russian"),
    [
        (timedelta(seconds=59), "0 min", "0 мин"),
        (timedelta(minutes=59), "59 min", "59 мин"),
        (timedelta(hours=47, minutes=59), "47 h 59 min", "47 ч 59 мин"),
        (timedelta(days=2), "2 days", "2 дня"),
        (timedelta(days=21), "21 days", "21 день"),
        (timedelta(days=-5), "5 days", "5 дней"),
    ],
)
def test_spans(span: timedelta, english: str, russian: str) -> None:
    assert (ENGLISH.span(span), RUSSIAN.span(span)) == (english, russian)

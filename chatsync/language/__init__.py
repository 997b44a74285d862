"""The languages of the answers for people: one table of sentences each, with numbers, times and plural forms. Pure.

A sentence may have names in braces. A sentence with `{count}` is a tuple with each plural form of the language.
The tests fail if a table lacks a sentence, a form or a name that another table has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chatsync.core import DISABLED_FOREVER
from chatsync.language import english, russian

Sentences = Mapping[str, str | tuple[str, ...]]


def _english_form(count: int) -> int:
    return 0 if count == 1 else 1


def _russian_form(count: int) -> int:
    """Return 0 for 1, 21, 31; 1 for 2 to 4, 22 to 24; 2 for all others (Unicode CLDR, "Language Plural Rules")."""
    if count % 10 == 1 and count % 100 != 11:  # noqa: PLR2004  # the rule's own numbers
        return 0
    return 1 if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else 2


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language: its sentences, and how it writes numbers, days and times (in UTC)."""

    code: str
    sentences: Sentences
    form: Callable[[int], int]
    thousands: str
    date: str

    def say(self, key: str, /, *, count: int | None = None, **values: object) -> str:
        """Return a sentence with its names filled in; `count` chooses the form."""
        sentence = self.sentences[key]
        if count is not None:
            values["count"] = self.number(count)
            sentence = sentence if isinstance(sentence, str) else sentence[self.form(count)]
        return str(sentence).format(**values)

    def number(self, number: int) -> str:
        """Write a number with separators of thousands."""
        return f"{number:,}".replace(",", self.thousands)

    def day(self, moment: datetime) -> str:
        """Write the day of a moment."""
        return moment.astimezone(UTC).strftime(self.date)

    def moment(self, moment: datetime) -> str:
        """Write a moment to the minute; at midnight only the day."""
        clock = moment.astimezone(UTC).strftime("%H:%M")
        return self.day(moment) if clock == "00:00" else f"{self.day(moment)} {clock} UTC"

    def short_day(self, moment: datetime) -> str:
        """Write the day of a moment without its year, for a mark on an axis."""
        at = moment.astimezone(UTC)
        return f"{at.day} {self.say('months').split()[at.month - 1]}"

    def period(self, first: datetime, last: datetime) -> str:
        """Write a time from one moment to another, to the minute, without the word UTC."""
        first, last = first.astimezone(UTC), last.astimezone(UTC)
        whole, dash = f"{self.date} %H:%M", "\N{NO-BREAK SPACE}\N{EN DASH}\N{NO-BREAK SPACE}"
        written, until = first.strftime(whole), last.strftime("%H:%M" if first.date() == last.date() else whole)
        return written if written.endswith(until) else f"{written}{dash}{until}"

    def took(self, seconds: float) -> str:
        """Write how long something took, in whole seconds."""
        whole = round(seconds)
        if whole < 60:  # noqa: PLR2004  # a minute
            return self.say("seconds", seconds=whole or "< 1")
        return self.say("minutes_seconds", minutes=whole // 60, seconds=whole % 60)

    def until(self, moment: datetime) -> str:
        """Write until when the job is switched off."""
        if moment >= DISABLED_FOREVER:
            return self.say("until_further_notice")
        return self.say("until", time=self.moment(moment))

    def span(self, span: timedelta) -> str:
        """Write a length of time in its largest unit, or its two largest up to a day."""
        minutes = int(abs(span.total_seconds())) // 60
        if minutes >= 2 * 24 * 60:
            return self.say("days", count=minutes // (24 * 60))
        if minutes >= 60:  # noqa: PLR2004  # an hour
            return self.say("hours", hours=minutes // 60, minutes=minutes % 60)
        return self.say("minutes", minutes=minutes)


LANGUAGES = {
    "en": Language(code="en", sentences=english.SENTENCES, form=_english_form, thousands=",", date="%Y-%m-%d"),
    "ru": Language(
        code="ru", sentences=russian.SENTENCES, form=_russian_form, thousands="\N{NO-BREAK SPACE}", date="%d.%m.%Y"
    ),
}

"""Cleaning of everything that the program writes: secrets become `***`, control characters are escaped.

Standard output and standard error, including logs and tracebacks, go through the streams of
`clean_output`; files and requests go through `without_secrets`. Code that reads a secret registers it with
`known_secrets.keep_secret`.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Any

HIDDEN = "***"

# Shorter texts occur in too many words and numbers; they are still hidden inside a URL.
MIN_LENGTH = 4
# Letters of one case, up to this length, count as a word. A word is hidden only in the place of a password: a password
# such as "changes" or "feature" must not hide that word in messages, in JSON and in plans.
_LONGEST_WORD = 10
_WORD = re.compile(r"[A-Za-z]?(?:[a-z]+|[A-Z]+)")
# Letters and digits, up to this length, are hidden only as a whole word: "abc1" is not hidden in "fabc12".
_LONGEST_ALONE = 7
# After the user in a URL, after "=", as a literal after "=", or percent-encoded; never as a value or a key of JSON.
_IN_PLACE = r"(?:(?<=[^\"]:)|(?<==)|(?<==[\"'])|(?<=%[0-9A-Fa-f]{2}))"

# `//user:password@`, also with one slash, as a path library writes it. A password may hold "@".
_LOGIN = re.compile(r"(?<=[:/]/)([^\s:/@\"']*):(?!PASSWORD@)(?:[^\s\"\\]|\\.)*@")  # except our own USER:PASSWORD@
# The same where a message cut the URL short before its "@"; a number there is a port.
_PORT = r"\d{1,5}(?:://|[\s/?#\"'\\…]|[,;:).]?(?:\s|$))"
_LOGIN_CUT = re.compile(rf"(?<=//)([^\s:/@\"'\[]*):(?!/|{_PORT})[^\s\"'@\\…]+(?=[\s\"'\\…]|$)")

# Control characters except tab and line end, invisible characters, those that change the direction of
# a text, and surrogates, which represent bytes that are not valid UTF-8.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

_spelt: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None


def hide(spellings: AbstractSet[str]) -> None:
    """From now on, hide these spellings of a secret in everything that the program writes."""
    global _pattern, _spelt  # noqa: PLW0603  # one registry for the process, as a secret is one for all its threads
    if not spellings <= _spelt:
        _spelt = _spelt | spellings
        longest_first = sorted(_spelt, key=lambda spelling: (-len(spelling), spelling))
        _pattern = re.compile("|".join(map(_alone, longest_first)))


def forget_secrets() -> None:
    """Forget all secrets, at the start of a command."""
    global _pattern, _spelt  # see hide
    _pattern, _spelt = None, frozenset()


def is_ordinary(text: str) -> bool:
    """Decide whether a secret is a word or a number, like those in messages, JSON keys, ids and counts."""
    return text.isdigit() or (len(text) <= _LONGEST_WORD and _WORD.fullmatch(text) is not None)


def _alone(spelling: str) -> str:
    """Return the pattern of a secret; a short one matches only as a whole word."""
    pattern = re.escape(spelling)
    if spelling.isdigit():
        # Bare numbers are ids and counts, and JSON must stay JSON.
        return rf"(?:(?<=[^\"]:)|(?<=[=/'\"])){pattern}(?![0-9A-Za-z])"
    if is_ordinary(spelling):
        return rf"{_IN_PLACE}{pattern}(?![0-9A-Za-z])"
    if spelling.isalnum() and len(spelling) <= _LONGEST_ALONE:
        return rf"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{{2}})){pattern}(?![0-9A-Za-z])"
    return pattern


def without_secrets(text: str) -> str:
    """Return a text with every known secret and every password of a URL replaced by `***`."""
    if _pattern is not None and any(spelling in text for spelling in _spelt):
        text = _pattern.sub(HIDDEN, text)
    if "…" in text and any(spelling[:MIN_LENGTH] in text for spelling in _spelt):
        text = "…".join(_without_start(part) for part in text.split("…"))
    if "@" in text:
        text = _LOGIN.sub(rf"\1:{HIDDEN}@", text)
    if "//" in text:
        text = _LOGIN_CUT.sub(rf"\1:{HIDDEN}", text)
    return text


def _without_start(text: str) -> str:
    """Return a text that was cut short, without the start of a secret at its end."""
    for spelling in _spelt:
        for length in range(len(spelling) - 1, MIN_LENGTH - 1, -1):
            if text.endswith(spelling[:length]):
                return text[:-length] + HIDDEN
    return text


def values_without_secrets(value: Any) -> Any:
    """Return a JSON-like value with every text in it cleaned of secrets."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: values_without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(values_without_secrets(item) for item in value)
    return value


def escape_odd(text: str) -> str:
    r"""Return a text with control characters and the like escaped as `\u001b`, as JSON does."""
    return _ODD.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""Return a text as one line: its line ends are written as `\n`."""
    return text.replace("\n", "\\n") if "\n" in text else text


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

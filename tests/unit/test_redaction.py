"""What leaves the program: no known secret, no password of a URL, nothing that a terminal acts on."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from chatsync import redaction
from chatsync.clean_output import CleanStream, clean_output, terminal
from chatsync.config.urls import keep_secrets_in
from chatsync.known_secrets import keep_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = 'p@ss:w/rd#%? "é\\x'


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    redaction.forget_secrets()
    yield
    redaction.forget_secrets()


@pytest.mark.parametrize(
    "spelling",
    [SECRET, quote(SECRET, safe=""), json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), repr(SECRET),
     "p@ss:w/rd#%? &quot;é\\x"],
)  # fmt: skip
def test_a_secret_is_hidden_in_every_spelling(spelling: str) -> None:
    keep_secret(SECRET)

    assert "rd" not in redaction.without_secrets(f"Authorization: OAuth {spelling}, and more")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysql://anna:s3c@ret@ppc1.example/ppc", "mysql://anna:***@ppc1.example/ppc"),
        ('{"url": "http://anna:s3cret@h:80/x", "n": 1}', '{"url": "http://anna:***@h:80/x", "n": 1}'),
        ("/etc/chatsync/mysql:/anna:s3cret@ppc1/ppc", "/etc/chatsync/mysql:/anna:***@ppc1/ppc"),
        ("//:s3cret@host", "//:***@host"),
        ("expected mysql://USER:PASSWORD@HOST:PORT/SCHEMA", "expected mysql://USER:PASSWORD@HOST:PORT/SCHEMA"),
        ("http://localhost:8080/api and anna@example", "http://localhost:8080/api and anna@example"),
        ("'mysql://anna:s3cretthatiscut'", "'mysql://anna:***'"),
        ("holds mysql://anna:s3cr…, which", "holds mysql://anna:***…, which"),
        ('{"a": "mysql://anna:123456"}', '{"a": "mysql://anna:***"}'),
        ('{"a": "\\"mysql://anna:s3cr\\""}', '{"a": "\\"mysql://anna:***\\""}'),
        (
            "http://[::1]:80/x http://h:80, hahn://home/a:b file://C:/x",
            "http://[::1]:80/x http://h:80, hahn://home/a:b file://C:/x",
        ),
        ("shard 1 (ppc1.example:3306/ppc): user@host", "shard 1 (ppc1.example:3306/ppc): user@host"),
    ],
)
def test_the_password_of_a_url(text: str, shown: str) -> None:
    assert redaction.without_secrets(text) == shown


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("test", "the latest test: u:test@h /test", "the latest test: u:***@h /test"),
        ("test", "connect(user='u', password='test')", "connect(user='u', password='***')"),
        ("changes", '{"verdict": "changes", "x":"changes"}', '{"verdict": "changes", "x":"changes"}'),
        ("shard", "shard 1: apply will make 3 changes", "shard 1: apply will make 3 changes"),
        ("Password", "Check the Password", "Check the Password"),
        ("null", '{"error":null, "failed": null}', '{"error":null, "failed": null}'),
        ("7000", '{"port":7000}', '{"port":7000}'),
        ("abc1", "xabc12 is abc1", "xabc12 is ***"),
        ("tRuStNo", "is tRuStNo", "is ***"),
        ("correcthorsebattery", "is correcthorsebattery", "is ***"),
        ("test", "%3Atest%40", "%3A***%40"),
        ("hunter-22", "xhunter-22y", "x***y"),
        ("1234567", '{"clients": [1234567], "url": "h/1234567"}', '{"clients": [1234567], "url": "h/***"}'),
        ("abc", "abc", "abc"),  # too short to be told from ordinary text
        ("chatsync", "chatsync: no", "chatsync: no"),
        ("chatsync", "//chatsync:chatsync@h", "//chatsync:***@h"),
        ("a  b\tc", "why: a b c", "why: ***"),
    ],
)
def test_ordinary_text_stays(secret: str, text: str, shown: str) -> None:
    keep_secret(secret)

    assert redaction.without_secrets(text) == shown


@pytest.mark.parametrize("secret", ["abc", "1234", "changes", "Feature", "PASSWORD"])
def test_a_secret_that_can_not_be_told_from_ordinary_text_is_told(secret: str) -> None:
    assert not keep_secret(secret)


@pytest.mark.parametrize("secret", ["hunter2", "tRuStNo", "ab-c", "wordswithoutend"])
def test_any_other_secret_is_hidden_everywhere(secret: str) -> None:
    assert keep_secret(secret)
    assert redaction.without_secrets(f'{{"a": "{secret}"}} {secret}') == '{"a": "***"} ***'


def test_every_password_in_a_configuration_is_known() -> None:
    keep_secrets_in(
        'dict = "mysql://u:hunter%2F22@h/d"\n"mysql:/v:sword fish@h/d" = 1\nx = "mysql://u:${PASSWORD}@h/d"'
    )

    assert redaction.without_secrets("hunter/22 hunter%2F22 sword fish ${PASSWORD}") == "*** *** *** ${PASSWORD}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jred\x07", "\\u001b[2Jred\\u0007"),
        ("a\rb\x7f\x9b", "a\\u000db\\u007f\\u009b"),
        ("a\u202eb\u2066\u200f\ufeff", "a\\u202eb\\u2066\\u200f\\ufeff"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("tab\tline\nжё ✓ … 😀", "tab\tline\nжё ✓ … 😀"),
    ],
)
def test_what_a_terminal_acts_on_is_escaped_as_json_does(text: str, shown: str) -> None:
    assert redaction.escape_odd(text) == shown
    dumped = redaction.escape_odd(json.dumps(text, ensure_ascii=False))
    assert json.loads(dumped) == text


def test_both_streams_are_cleaned_whoever_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    keep_secret(SECRET)
    with clean_output():
        sys.stdout.write(f"{SECRET}\x1b\n")
        sys.stderr.write(f"//u:{SECRET}@h\n")
        assert terminal(sys.stderr) is err
        assert not hasattr(sys.stdout, "buffer")
        with pytest.raises(TypeError):
            sys.stdout.write(b"")  # type: ignore[arg-type]

    assert sys.stdout is out
    assert (out.getvalue(), err.getvalue()) == ("***\\u001b\n", "//u:***@h\n")


def test_only_standard_error_may_be_lost() -> None:
    with open("/dev/full", "w", buffering=1) as full:  # noqa: PTH123  # a device, as a shell opens it
        CleanStream(full, may_fail=True).write("lost\n")
        with pytest.raises(OSError, match="No space"):
            CleanStream(full, may_fail=False).write("not to be lost\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # so that it can be closed

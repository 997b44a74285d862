"""A thousand odd configurations: each is taken, or refused in one line with the exit code of a wrong configuration."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from chatsync.config.durations import Seconds
from chatsync.config.load import load
from chatsync.config.settings import File
from chatsync.config.traces import read_traces
from chatsync.errors import ConfigError, ExitCode
from tests.harness.memory import bounded_memory

SEED = 20261123
DURATIONS = (
    "0.0001s", "1s" * 10_000, "1" * 5000 + "s", "9" * 400 + "w", "1e5s", "-1s", "0s",
    "\u0661s", "1.s", " 1s", "1S",
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "a\x00b", "\n", "\x1b[2J", "\u202e", "${", "${}", "${NO_SUCH}", "${PATH}", "~",
    "/", "//", "://", ".",
    "é" * 300, "x" * 100_000, "mysql://", "mysql://u:p@/d", "mysql://u:p@h:99999/d", "mysql://[::1/d", "mysql://h/d?x",
    "mysql://h/d?ssl_ca=%00", "mysql://h/d?=", "mysql://h/\x00", "mysql://h:\u0661/d", "sqlite://",
    "sqlite:///", "sqlite:///a\x00",
    "sqlite:////dev/null", "http://", "http://[::1", "http://h:99999", "::1", "a:80:80", "yt:99999",
    "h\x00", "a..b", "<a=1>//x",
    "//x[#1:#2]", "2026-11-23", "Europe/Moscow", "../../etc/passwd", "/etc", "\U0010ffff", *DURATIONS,
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.0, -0.0, 1e308, 5e-324, 0.0001)
BARE = (
    "nan",
    "inf",
    "-inf",
    "true",
    "2026-11-23",
    "2026-11-23T10:30:00",
    "07:32:00",
    "0x10",
    "1_0",
    "[]",
    "{}",
    "[[1]]",
)
RAW = (
    b"", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"a", b"=", b"[", b"[[a]]\n[a]", b"a.b=1\na=2",
    b'a="\\ud800"', b'a = """',
    b"a = " + b"[" * 1000 + b"]" * 1000, b"a = " + b"{x=" * 1000 + b"1" + b"}" * 1000, b"[" + b"a." * 5000 + b"a]\n",
    b"a." * 5000 + b"a = 1", b"[exclusions]\n" * 2, b"a = 1" + b"0" * 10_000, b"a = " + b"1" * 10_000,
    b"a = 1e" + b"9" * 5000,
    b"'" * 100_000, b"#" * 1_000_000, b"\r", b"a = 1\r\nb", b"a=0000-00-00", b"a=9999-99-99T99:99:99Z",
)  # fmt: skip


def valid(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "exclusions": {"file": "list.csv"},
        "databases": {"dict": "sqlite:///dict.db"},
        "databases.shards": {"1": f"sqlite:///{folder}/1.db"},
    }


def text_of(document: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, section in document.items():
        lines.append(f"[{name}]")
        lines += [f"{json.dumps(key)} = {value}" for key, value in section.items()]
    return "\n".join(lines)


def odd_value(chance: random.Random) -> str:
    """A value as it stands in the file."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(BARE)
    if kind == 1:
        return str(chance.choice(NUMBERS))
    text = json.dumps(chance.choice(TEXTS), ensure_ascii=chance.random() < 0.5).replace("\\ud", "x").replace("\x7f", "")
    return f"[{text}, {text}]" if kind == 2 else text


def odd_file(chance: random.Random, folder: Path) -> bytes:
    document = {
        name: {key: json.dumps(value) for key, value in section.items()} for name, section in valid(folder).items()
    }
    sections = [*File.__struct_fields__, "databases.shards", "databases.replicas", "nonsense"]
    for _ in range(chance.randint(0, 2)):
        name = chance.choice(sections)
        section = document.setdefault(name, {})
        kind = File.__annotations__.get(name)
        known = getattr(kind, "__struct_fields__", ("1", "255", "256", "x")) if not isinstance(kind, str) else ("1",)
        key = chance.choice([*known, chance.choice(TEXTS)]).replace("\ud800", "")
        section[key] = odd_value(chance)
    content = text_of(document).encode("utf-8", "replace")
    if chance.random() < 0.2:  # bytes changed at random
        changed = bytearray(content)
        for _ in range(chance.randint(1, 5)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        content = bytes(changed)
    return content


def check(path: Path, content: bytes) -> bool:
    """Load it and return whether it was taken."""
    path.write_bytes(content)
    began = time.monotonic()
    refusal: ConfigError | None = None
    try:
        load(path)
    except ConfigError as error:
        refusal = error
    read_traces(path)
    assert time.monotonic() - began < 5, content
    if refusal is not None:
        assert refusal.exit_code == ExitCode.USAGE
        assert len(str(refusal).splitlines()) == 1, content
        assert len(str(refusal)) < 1000, content
    return refusal is None


@pytest.mark.slow
def test_a_thousand_odd_configurations(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  # no secret is made of it
    with bounded_memory():
        taken = [check(tmp_path / "chatsync.toml", odd_file(chance, tmp_path)) for _ in range(1000)]

    assert 50 < sum(taken) < 700  # some are only unusual


@pytest.mark.parametrize("content", RAW, ids=[str(number) for number in range(len(RAW))])
def test_what_is_no_configuration_at_all(tmp_path: Path, content: bytes) -> None:
    assert not check(tmp_path / "chatsync.toml", content)


def test_a_file_without_an_end() -> None:
    with bounded_memory(), pytest.raises(ConfigError, match=r"configuration /dev/zero: File too large"):
        load(Path("/dev/zero"))
    assert not read_traces(Path("/dev/zero")).records.dir


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(ConfigError, match=r"configuration \.\./chatsync\.toml: No such file"):
        load(Path("../chatsync.toml"))
    assert not read_traces(Path("../chatsync.toml")).records.dir


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    began = time.monotonic()
    accepted = True
    try:
        Seconds.parse(text)
    except ValueError:
        accepted = False

    assert accepted == (text == "0.0001s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000, "é" * 200])
def test_a_path_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="configuration"):
        load(tmp_path / name)

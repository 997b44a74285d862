"""The stories of docs/runbook.md: for each section, the situation in which its commands print what the page shows.

A story changes databases and list, and yields before each command of its section.
`python -m tests.harness.runbook [WORD]` prints what the commands print (of the sections whose heading has WORD) and
writes it into the page.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import re
import shlex
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

import mysql.connector

from chatsync import cli
from chatsync.databases.job_lock import lock_name
from tests.harness.job import FEATURE_ID, Job
from tests.harness.schema import create_world
from tests.harness.servers import Server
from tests.harness.wire import Wired
from tests.harness.yt_proxy import YtProxy

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
TABLE = "//home/oobp/public/clients_chat_exclusion"
PLANS = ("/var/lib/chatsync/plan.json", "/tmp/plan.json")
FIRST_CLIENT = 1_000_000
OFF = 612
ALIKE = 0.4
RUN_ID = re.compile(r"\b\d{8}T\d{6}(?:\.\d+)?(?:Z-[0-9a-f]{8})?")

TRANSLATION = PAGE.parent / "ru" / "runbook.md"
BLOCK = re.compile(r"^```\n.*?^```$", re.MULTILINE | re.DOTALL)
HASH = re.compile(r"<!-- en: ([0-9a-f]*) -->\n")

Command = tuple[str, list[str]]


def sections() -> dict[str, list[Command]]:
    """Return the commands of each section that shows some, each with the lines that it prints on the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {heading: list(_commands(text)) for heading, text in zip(parts[::2], parts[1::2], strict=True)}
    return {heading: commands for heading, commands in found.items() if commands}


def _commands(text: str) -> Iterator[Command]:
    for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command, lines


def parts(page: Path) -> list[str]:
    """Return the sections of a page, the one before the first heading too."""
    return re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def prose_hash(part: str) -> str:
    """Return a short hash of a section's text without its blocks of code and its line ends."""
    return hashlib.sha256(" ".join(BLOCK.sub("", part).split()).encode()).hexdigest()[:8]


def translate_blocks() -> None:
    """Copy the blocks of the page into its translation. The hashes stay: only a translator changes them."""
    blocks = iter(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    text = TRANSLATION.read_text(encoding="utf-8")
    TRANSLATION.write_text(BLOCK.sub(lambda _: next(blocks), text), encoding="utf-8")


class Scene:
    """A job on real servers and a simulated YT proxy, with the names of the page."""

    def __init__(self, job: Job, wired: Wired, yt: YtProxy) -> None:
        self.job, self.wired, self.yt = job, wired, yt
        self._plan = PLANS[0]
        self.cluster = "hahn"
        self.run_id = self.named = ""  # the last run as the history showed it, and as a command was given it
        yt.write(TABLE + "_archive", ids=[])  # a neighbour in the same folder
        self.now = datetime.now(UTC).replace(microsecond=191990)
        self.clients = sorted(random.Random(1).sample(range(FIRST_CLIENT, 9 * FIRST_CLIENT), 1500))  # noqa: S311
        job.exclusions = {"proxy": yt.url, "path": TABLE}
        self.configure()
        job.settle({client: client % 4 + 1 for client in self.clients})

    def configure(self, **sections: Any) -> None:
        self.job.configure(
            records={"dir": "records"}, monitoring={"state_file": "check.json"}, run={"retry_timeout": "1s"}, **sections
        )

    def write(self, ids: Any, *, ago: timedelta, path: str = TABLE) -> None:
        """Write the list; it was modified some time ago."""
        schema = [{"name": "client_id", "type": "int64"}]
        self.yt.write(path, ids=list(ids), modified=self.now - ago, schema=schema)

    def synced(self, *, ago: timedelta = timedelta(hours=2), count: int = OFF) -> list[int]:
        """Let a list of so many clients be synced, some time ago; return them."""
        listed = self.clients[:count]
        self.write(listed, ago=ago)
        for step in (["diff", "--plan", "plan.json"], ["apply", "--plan", "plan.json", "--force"]):
            assert self.quietly(*step) == 0
        assert self.quietly("set-modtime", "--plan", "plan.json") == 0
        return listed

    def quietly(self, *arguments: str) -> int:
        """Run a command that the page does not show."""
        return self._run(list(arguments), io.StringIO())

    def run(self, line: str) -> list[str]:
        """Run a command line of the page; return its output, on both streams, under the names of the page."""
        out = io.StringIO()
        self._run(shlex.split(line)[1:], out)
        if found := RUN_ID.search(out.getvalue()):
            self.run_id = found[0]
        return self._renamed(out.getvalue()).splitlines()

    def _run(self, arguments: list[str], out: io.StringIO) -> int:
        words = [self._ours(word) for word in arguments]
        with (
            contextlib.chdir(self.job.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            mock.patch.object(sys, "stdin", Yes(out)),
            mock.patch.object(sys, "argv", ["chatsync", *arguments]),
            mock.patch.object(socket, "gethostname", return_value="jobs1"),
            mock.patch.dict(os.environ, {"LOGNAME": "chatsync", "YT_TOKEN": "AQAD-q-secret", "COLUMNS": "120"}),
        ):
            return cli.run(["-c", str(self.job.config), *words])

    def _ours(self, word: str) -> str:
        if word in PLANS:
            self._plan = word
            return str(self.job.plan_file)
        if RUN_ID.fullmatch(word):
            self.named = self.run_id
            return self.named
        return word

    def _renamed(self, text: str) -> str:
        names = {
            "1s of retries": "1m of retries",
            str(self.job.config): "/etc/chatsync/chatsync.toml",
            str(self.job.plan_file): self._plan,
            str(self.job.folder): "/var/lib/chatsync",
            self.yt.url.removeprefix("http://") + ":": f"{self.cluster}:",
        }
        for database, wire in self.wired.wires.items():
            where = wire.url.split("@")[1].split("/")[0].split("?")[0]
            names[where] = f"{database}.example:3306"
        for ours, name in names.items():
            text = text.replace(ours, name)
        return re.sub(r"from 127\.0\.0\.1:\d+", "from 10.0.0.17:46866", text)


class Yes(io.StringIO):
    """A person at the keyboard who answers yes; the answer is shown in the output."""

    def __init__(self, screen: io.StringIO) -> None:
        super().__init__()
        self._screen = screen

    def readline(self, *_: Any) -> str:  # type: ignore[override]
        self._screen.write("y\n")
        return "y\n"


Story = Callable[[Scene], Generator[None, None, None]]


def a_client_without_chat(scene: Scene) -> Generator[None, None, None]:
    scene.synced()  # with the first client that the page asks about, and without the second
    yield
    other = scene.clients[OFF + 10]
    scene.job.row(other % 4 + 1, other, 0)
    yield


def the_list_is_lost(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.yt.remove(TABLE)
    yield
    yield


def the_list_was_emptied(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.write([], ago=timedelta(minutes=50))
    yield
    assert scene.quietly("diff", "--plan", "plan.json") == 0
    yield


def rows_are_rejected(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    cells = [*scene.clients[:615], "client 8811606", "", "12.5", 9999999]
    schema = [{"name": "client_id", "type": "string"}]
    ids, modified = [str(cell) for cell in cells], scene.now - timedelta(minutes=40)
    scene.yt.write(TABLE, ids=ids, modified=modified, schema=schema)
    yield


def a_limit_refuses(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.write(scene.clients[:900], ago=timedelta(minutes=40))
    yield
    yield
    yield


def the_job_is_silent(scene: Scene) -> Generator[None, None, None]:
    scene.synced(ago=timedelta(hours=7))
    scene.write(scene.clients[:700], ago=timedelta(hours=2, minutes=24))
    yield
    yield
    scene.wired.sql("ppc3", "REVOKE INSERT ON ppc3.clients_features FROM chatsync")
    try:
        yield
    finally:
        scene.wired.sql("ppc3", "GRANT INSERT ON ppc3.clients_features TO chatsync")


def a_shard_is_down(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.write(scene.clients[10:627], ago=timedelta(minutes=20))
    scene.wired.wires["ppc3"].go_away()
    yield
    scene.wired.wires["ppc3"].come_back()
    assert scene.quietly("diff", "--plan", "plan.json") == 0
    scene.wired.wires["ppc3"].go_away()
    yield
    scene.wired.wires["ppc3"].come_back()
    assert scene.quietly("diff", "--plan", "plan.json") == 0
    yield


def disabled_and_forgotten(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.write(scene.clients[:617], ago=timedelta(minutes=20))
    until, why = f"{scene.now + timedelta(days=28):%Y-%m-%d}", "JOBS-17: the sales team rewrites the list"
    assert scene.quietly("set-modtime", until, "--reason", why) == 0
    yield
    yield
    yield
    yield


def a_wrong_list_was_synced(scene: Scene) -> Generator[None, None, None]:
    scene.synced(count=600)
    scene.synced(ago=timedelta(hours=1))
    wrong = [*scene.clients[200:612], *scene.clients[1000:1140]]
    scene.write(wrong, ago=timedelta(minutes=10))
    for words in ("diff --plan plan.json", "apply --plan plan.json --force", "set-modtime --plan plan.json"):
        assert scene.quietly(*words.split()) == 0
    yield
    yield
    yield


def two_runs_meet(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    scene.write(scene.clients[:617], ago=timedelta(minutes=20))
    assert scene.quietly("diff", "--plan", "plan.json") == 0
    url = urlsplit(scene.wired.dict_url)
    with closing(
        mysql.connector.connect(
            host=url.hostname, port=url.port, user=url.username, password=unquote(url.password or ""), ssl_disabled=True
        )
    ) as other:
        other.cmd_query(f"SELECT GET_LOCK('{lock_name('ppcdict', FEATURE_ID)}', 0)")
        other.get_rows()
        yield


def the_list_moves(scene: Scene) -> Generator[None, None, None]:
    scene.synced()
    moved = "//home/sales/clients_chat_exclusion"
    scene.write(scene.clients[:615], ago=timedelta(days=3), path=moved)
    scene.job.exclusions, scene.cluster = {"proxy": scene.yt.url, "path": moved}, "arnold"
    scene.configure()
    yield
    yield
    yield
    for words in ("diff --plan plan.json", "apply --plan plan.json", "set-modtime --plan plan.json"):
        assert scene.quietly(*words.split()) == 0
    yield


STORIES: dict[str, Story] = {
    "What if a client has no chat, or has one and should not?": a_client_without_chat,
    "What if the list is lost?": the_list_is_lost,
    "What if the list was emptied by mistake?": the_list_was_emptied,
    "What if rows of the list are rejected?": rows_are_rejected,
    "What if a limit refuses the plan?": a_limit_refuses,
    "What if the job is silent?": the_job_is_silent,
    "What if a shard is down?": a_shard_is_down,
    "What if the job was disabled and forgotten?": disabled_and_forgotten,
    "What if a wrong list was synced?": a_wrong_list_was_synced,
    "What if another run is in progress?": two_runs_meet,
    "What if the list moves to another cluster?": the_list_moves,
}


def played(heading: str, scene: Scene) -> Generator[tuple[str, list[str], list[str]], None, None]:
    """Play a section: for each command, the lines of the page and the lines that it really prints."""
    with closing(STORIES[heading](scene)) as story:
        for command, lines in sections()[heading]:
            next(story)
            yield command, lines, scene.run(command)
        assert next(story, "the end") == "the end", "the story has more commands than the section"


# What differs each time.
VARYING = [
    (RUN_ID, "RUN"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "TRACE"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?)?(?:Z| UTC)?"), "TIME"),
    (re.compile(r"\blag=\d+s"), "lag=SPAN"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:s|min|h|d|m)\b(?: \d+ (?:s|min|h))?"), "SPAN"),
    (re.compile(r"\bconnection \d+"), "connection N"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+:\d+"), "ADDRESS"),
    (re.compile(r"in \S+/plan\.json|to \S+/plan\.json|--plan \S+"), "PLAN"),
    (re.compile(r"-{2,}"), "--"),
    (re.compile(r"\s+"), " "),
]


def comparable(lines: list[str]) -> list[str]:
    """Return lines without what differs each time; lines of the log, whose order does too, in one order."""
    plain = []
    for line in lines:
        for pattern, word in VARYING:
            line = pattern.sub(word, line)  # noqa: PLW2901
        plain.append(line.strip())
    log = iter(sorted(line for line in plain if line.startswith("TIME INFO")))
    return [next(log) if line.startswith("TIME INFO") else line for line in plain]


def shows(page: list[str], printed: list[str]) -> bool:
    """Tell whether the page shows what was printed; its lines `…` stand for any lines."""
    pattern = "".join("(?:.*\\n)*?" if line == "…" else re.escape(line + "\n") for line in comparable(page))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in comparable(printed))) is not None


def updated(page: list[str], printed: list[str]) -> list[str]:
    """Return the lines as printed, cut where the page cuts them: a line of the page finds the one most like it."""
    lines: list[str] = []
    at, cut = 0, False
    for line in page:
        if line.strip() == "…":
            cut = True
            continue
        alike = [SequenceMatcher(None, line, other).ratio() - n / 100 for n, other in enumerate(printed[at:])]
        if not alike or max(alike) < ALIKE:
            continue
        found = at + alike.index(max(alike))
        lines += printed[at:found] if not cut else ["…"] if found > at else []
        lines.append(printed[found])
        at, cut = found + 1, False
    rest = printed[at:]
    return [*lines, *((["…"] if cut else rest) if rest else [])]


def main() -> None:
    """Write the real output into the page; with a word, for the sections only whose heading has it."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    text = PAGE.read_text(encoding="utf-8")
    with Server() as server:
        for heading in [heading for heading in STORIES if word in heading]:
            world = create_world(server)
            with tempfile.TemporaryDirectory() as folder, Wired(world) as wired, YtProxy() as yt:
                scene = Scene(Job(Path(folder), wired), wired, yt)
                for command, page, printed in played(heading, scene):
                    print("\n".join([f"$ {command}", *printed]))  # noqa: T201
                    before = "\n".join([f"$ {command}", *page])
                    typed = RUN_ID.sub(scene.named, command)
                    after = "\n".join([f"$ {typed}", *updated(page, printed)])
                    at = text.index(before, text.index(f"## {heading}"))
                    text = text[:at] + after + text[at + len(before) :]
    PAGE.write_text(text, encoding="utf-8")
    translate_blocks()


if __name__ == "__main__":
    main()

"""What people would use instead of chatsync, as commands that do the same."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import BenchError, Command
from bench.world import FEATURE_ID, TABLE
from tests.harness.schema import PASSWORD, USER
from tests.harness.servers import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.world import World
    from bench.worlds import Worlds

OFF = f"clients_features WHERE feature_id = {FEATURE_ID} AND is_enabled = 0"
NOWHERE = Path(__file__).with_name("nowhere.py")
YT_ENVIRONMENT = {"YT_TOKEN": "none"}


def beside_python(name: str) -> str:
    """Find a program of this environment."""
    return str(Path(sys.executable).with_name(name))


def bash(world: World, name: str, lines: Iterable[str]) -> list[str]:
    """Write a script into the world's folder and return the command that runs it there."""
    script = world.folder / f"{name}.sh"
    script.write_text("\n".join(["set -euo pipefail", f"cd {shlex.quote(str(world.folder))}", *lines, ""]))
    return ["bash", str(script)]


def _side_by_side(commands: Iterable[str]) -> list[str]:
    """Start all, wait for each, and fail when one fails."""
    started = [f"{command} & pids+=($!)" for command in commands]
    return ["pids=()", *started, 'for pid in "${pids[@]}"; do wait "$pid"; done']


def _mysql(world: World, database: str, statement: str, *options: str) -> str:
    return shlex.join([*world.mysql(database), *options, "-e", statement])


def pipeline(world: World, *, retries: bool) -> Command:
    """Compare with yt, mysql, sort, join and comm; without `retries` the yt client copies bytes without reading them.

    Only the row on the shard where a client lives counts, so shard_client_id is a stream of its own.
    """
    config = [] if retries else ["--config", "{read_retries={enable=%false}}"]
    yt = shlex.join([beside_python("yt"), "read-table", TABLE, "--format", "dsv", "--proxy", world.yt_url, *config])
    sort = "sort -S1G --parallel=2 -u"
    off = [
        _mysql(world, name, f"SELECT ClientID, {number} FROM {OFF}", "--quick") + f" > off.{name}"
        for number, name in enumerate(world.shards, 1)
    ]
    homes = _mysql(world, f"{world.name}_dict", "SELECT ClientID, shard FROM shard_client_id", "--quick")
    lines = [
        "export LC_ALL=C",
        *_side_by_side([f"{yt} | cut -d= -f2 | {sort} > listed", f"{homes} | {sort} > homes", *off]),
        f"{sort} off.* | comm -12 - homes > off",
        "join -t $'\\t' listed homes > listed.homes",
        "join -t $'\\t' -v1 listed homes > unknown",
        "comm -23 listed.homes off > turn_off",
        "comm -13 listed.homes off > turn_on",
    ]

    def check() -> None:
        for name in ("turn_off", "turn_on"):
            found = (world.folder / name).read_bytes().count(b"\n")
            if found != world.size.drifted:
                raise BenchError(f"the pipeline found {found} to {name}, not {world.size.drifted}")

    return Command(argv=bash(world, f"pipeline-{retries}", lines), environment=YT_ENVIRONMENT, check=check)


def floor(world: World, *, at_once: bool) -> Command:
    """Count the rows on all shards and in the dict database, and download the list to nowhere: the least to read."""
    download = shlex.join([sys.executable, str(NOWHERE), world.yt_url, TABLE])
    counting = _counting(world, world.databases)
    lines = _side_by_side([download, *counting]) if at_once else [*_side_by_side(counting), download]
    return Command(argv=bash(world, f"floor-{at_once}", lines))


def counts(world: World, databases: Sequence[str]) -> Command:
    """Count the rows in these databases, with a client each."""
    return Command(argv=bash(world, f"counts-{len(databases)}", _side_by_side(_counting(world, databases))))


def _counting(world: World, databases: Sequence[str]) -> list[str]:
    """Return the commands that count off rows in shards, and homes in the dict database."""
    tables = {name: OFF if name in world.shards else "shard_client_id" for name in databases}
    return [_mysql(world, name, f"SELECT COUNT(*) FROM {table}") + f" > count.{name}" for name, table in tables.items()]


def reladiff(world: World) -> Command:
    """Compare the shards with the prepared tables."""
    where = f"feature_id = {FEATURE_ID} AND is_enabled = 0"
    options = ["-k", "ClientID", "-w", where, "-j", "4", "--limit", str(10**9)]
    commands = [
        shlex.join(["reladiff", world.url(name), "wanted", "clients_features", *options, "-a", "hashdiff"])
        + f" > differing.{name}"
        for name in world.shards
    ]

    def check() -> None:
        found = sum((world.folder / f"differing.{name}").read_bytes().count(b"\n") for name in world.shards)
        if found < 2 * world.size.drifted:
            raise BenchError(f"reladiff found {found} differences, not {2 * world.size.drifted}")

    return Command(argv=bash(world, "reladiff", _side_by_side(commands)), check=check)


def table_sync(world: World) -> Command:
    """Make the shards equal to the prepared tables, all shards at once."""
    commands = []
    for name in world.shards:
        place = f"h={ADDRESS},P={world.server.port},u={USER},p={PASSWORD.replace(',', chr(92) + ',')},D={name}"
        options = ["--no-check-slave", "--no-check-triggers", "--charset", "utf8mb4"]
        tool = ["pt-table-sync", "--execute", *options, f"{place},t=wanted", f"{place},t=clients_features"]
        # It exits with 2 when it changed something.
        commands.append(f"{{ {shlex.join(tool)} || [[ $? -eq 2 ]]; }}")
    argv = bash(world, "table-sync", _side_by_side(commands))
    return Command(argv=argv, before=world.reset, check=in_step(world, "pt-table-sync"))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What one run sent to the databases: a file for each connection, with its database.

    `first` ended before anything was written on a shard, `then` are all others.
    """

    first: Sequence[tuple[str, Path]]
    then: Sequence[tuple[str, Path]]


def replay(world: World, recorded: Recorded) -> Command:
    """Give all statements, batch by batch, as one file to one `mysql` client."""
    file = world.folder / "statements"
    texts = [f"USE {database};\n{part.read_text()}" for database, part in (*recorded.first, *recorded.then)]
    file.write_text("".join(texts))
    return _replayed(world, "replay", [_fed(world, world.shards[0], file)])


def replay_side_by_side(world: World, recorded: Recorded, *, only_shards: bool) -> Command:
    """Give the files of each connection to a `mysql` client of its own, all that were open together at once."""

    def clients(files: Sequence[tuple[str, Path]]) -> list[str]:
        commands = [_fed(world, name, file) for name, file in files if name in world.shards or not only_shards]
        return _side_by_side(commands) if commands else []

    return _replayed(world, f"replay-{only_shards}", [*clients(recorded.first), *clients(recorded.then)])


def _fed(world: World, database: str, file: Path) -> str:
    return f"{shlex.join(world.mysql(database))} < {shlex.quote(str(file))} > /dev/null"


def _replayed(world: World, name: str, lines: Iterable[str]) -> Command:
    return Command(argv=bash(world, name, lines), before=world.reset, check=in_step(world, "the mysql client"))


def record(world: World, worlds: Worlds, work: Callable[[], object]) -> Recorded:
    """Do `work` with the server's log switched on, and write the statements of each connection to a file."""
    worlds.log_statements(on=True)
    try:
        work()
    finally:
        worlds.log_statements(on=False)
    place: dict[int, str] = {}
    texts: dict[int, list[str]] = {}
    last: dict[int, int] = {}
    begun = 0
    for number, (thread, kind, text) in enumerate(worlds.logged()):
        # Only of chatsync's user: what prepares and checks the world is in the log as well.
        if kind == "Connect" and (found := re.match(rf"{USER}@.* on (\w+)", text)):
            place[thread], texts[thread] = found[1], []
        elif kind == "Query" and thread in place:
            texts[thread].append(text + ";\n")
            last[thread] = number
            begun = begun or (number if place[thread] in world.shards else 0)
    files = {}
    for thread, lines in texts.items():
        files[thread] = world.folder / f"statements.{thread}"
        files[thread].write_text("".join(lines), encoding="utf-8")
    return Recorded(
        first=[(place[thread], file) for thread, file in files.items() if last[thread] < begun],
        then=[(place[thread], file) for thread, file in files.items() if last[thread] >= begun],
    )


def in_step(world: World, who: str) -> Callable[[], None]:
    """Make a check that the shards hold what they are to hold."""

    def check() -> None:
        if not world.is_in_step():
            raise BenchError(f"{who} left the shards of {world.name} in another state than the list's")

    return check


def absent(*programs: str) -> str:
    """Return which of the programs are not installed; an empty text if all are."""
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""

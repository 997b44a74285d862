"""The private server of a bench, and the worlds on it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Self

from bench.exported import ExportedWorld
from bench.world import World
from tests.harness.schema import PASSWORD, USER
from tests.harness.servers import Server

if TYPE_CHECKING:
    from pathlib import Path

    from bench.world import Size

SERVER_OPTIONS = ("--innodb-buffer-pool-size=4G", "--loose-innodb-log-file-size=1G", "--secure-file-priv=")


class Worlds:
    """The worlds of one bench, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        """Take note of where to work; `with` starts the server."""
        self.folder = folder
        self._stack = ExitStack()
        self._made: dict[str, World] = {}

    def __enter__(self) -> Self:
        """Start the server."""
        self.server = self._stack.enter_context(Server(*SERVER_OPTIONS))
        self.server.sql(f"CREATE USER {USER} IDENTIFIED BY %s", args=[PASSWORD])
        return self

    def __exit__(self, *_: object) -> None:
        """End the server and the stand-ins."""
        self._stack.close()

    @property
    def server_pid(self) -> int | None:
        """The database server's process."""
        return self.server.process.pid if self.server.process else None

    def get(self, name: str, size: Size) -> World:
        """Return a world, made at the first call."""
        if name not in self._made:
            sys.stderr.write(f"bench: making the world of {size}\n")
            world = World(name, size, server=self.server, folder=self.folder)
            self._stack.callback(_end, world.serve())
            self._made[name] = world
        return self._made[name]

    def exported(self, size: Size, *, clique: bool) -> ExportedWorld:
        """Return a new world whose databases are exported."""
        sys.stderr.write(f"bench: making the exported world of {size}\n")
        world = ExportedWorld(self.folder / f"exported-{size.clients}-{clique}", size, clique=clique)
        self._stack.callback(_end, world.process)
        return world

    def log_statements(self, *, on: bool) -> None:
        """Have the server write every statement into mysql.general_log, or stop that."""
        for setting in (["log_output = 'TABLE'"] if on else []) + [f"general_log = {int(on)}"]:
            self.server.sql(f"SET GLOBAL {setting}")

    def logged(self) -> list[tuple[int, str, str]]:
        """Return the log: connection, kind and text of each entry, in order."""
        with closing(self.server.connect("mysql")) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT thread_id, command_type, argument FROM general_log")
            rows = [(int(thread), _text(kind), _text(text)) for thread, kind, text in cursor.fetchall()]
            cursor.execute("TRUNCATE general_log")
        return rows


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)

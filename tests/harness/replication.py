"""Replication between two servers of the tests."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.servers import Server


class Replication:
    """A replica of a server with a binary log: with a delay it lags more and more, without one it catches up."""

    def __init__(self, replica: Server, primary: Server) -> None:
        self.replica = replica
        self._primary = primary
        self._words = ("MASTER", "SLAVE") if replica.is_mariadb else ("SOURCE", "REPLICA")
        # Its first statements set it up, and must not be replicated.
        primary.sql("RESET MASTER" if primary.is_mariadb else "RESET BINARY LOGS AND GTIDS")
        primary.sql("CREATE USER IF NOT EXISTS replicator IDENTIFIED BY 'x'")
        primary.sql("GRANT REPLICATION SLAVE ON *.* TO replicator")
        primary.sql("CREATE DATABASE IF NOT EXISTS lagging")  # the replica has it already
        primary.sql("CREATE TABLE lagging.t (id INT)")

    def start(self, *, delay: int) -> None:
        """Replicate, `delay` seconds late."""
        source, replica = self._words
        verb = f"CHANGE {source}" if replica == "SLAVE" else "CHANGE REPLICATION SOURCE"
        ssl = "" if replica == "SLAVE" else ", SOURCE_SSL = 1"
        self.replica.sql("SET GLOBAL server_id = 4711")
        self.replica.sql(
            f"{verb} TO {source}_HOST = '127.0.0.1', {source}_PORT = {self._primary.port}, "
            f"{source}_USER = 'replicator', {source}_PASSWORD = 'x', {source}_DELAY = {delay}{ssl}"
        )
        self.replica.sql(f"START {replica}")

    def stop(self) -> None:
        self.replica.sql(f"STOP {self._words[1]}")

    def forget(self) -> None:
        self.stop()
        self.replica.sql(f"RESET {self._words[1]} ALL")
        for server in (self._primary, self.replica):  # a replica has it from its primary
            server.sql("DROP USER IF EXISTS replicator")

    def lag(self) -> int | None:
        with closing(self.replica.connect()) as connection, closing(connection.cursor(dictionary=True)) as cursor:
            cursor.execute(f"SHOW {self._words[1]} STATUS")
            (status,) = cursor.fetchall()
        found: int | None = status[f"Seconds_Behind_{self._words[0].capitalize()}"]
        return found

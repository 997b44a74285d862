"""The address of a database, from the configuration. A password prints as `***`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chatsync.known_secrets import keep_secret

Option = str | int | bool | list[str]


class Secret:
    """A text that prints as `***`; `reveal()` is called only to pass it to a driver."""

    def __init__(self, value: str) -> None:
        """Hide `value` here, and in everything that the program writes."""
        self.is_hidden = keep_secret(value)  # everywhere, not only in URLs
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        """Return three stars."""
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """Where a database is: a MySQL-protocol server, at a host and port or at a local socket, or an SQLite file.

    `option_file` is the file that the password comes from, if it is not in the URL.
    """

    database: str
    host: str = ""
    port: int = 0
    unix_socket: str = ""
    user: str = ""
    password: Secret | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    password_is_literal: bool = False
    option_file: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is an SQLite file."""
        return not self.server

    @property
    def server(self) -> str:
        """The address of the server; empty for SQLite."""
        return self.unix_socket or (f"{self.host}:{self.port}" if self.host else "")

    def hide_database(self) -> None:
        """Hide the name of the database in everything that the program writes: by mistake it may be the password."""
        keep_secret(self.database)

    def __str__(self) -> str:
        """Return the name for messages and for the plan's fingerprint, without user and secrets."""
        return self.database if self.is_sqlite else f"{self.server}/{self.database}"

"""Comparing the grants of a database account (SHOW GRANTS) with what the job needs. Pure.

MySQL and MariaDB print the same grammar with different words around it (MySQL 8.4 Reference
Manual, "SHOW GRANTS Statement"; MariaDB Knowledge Base, "SHOW GRANTS"). Both list the privileges
of active roles as separate lines, so the grantee of a line does not matter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NAME = r'(?:`(?:[^`]|``)*`|"(?:[^"]|"")*"|\*)'
# A line without ON grants a role, one with ON ''@'' a proxy: neither allows access to a table.
_LINE = re.compile(rf"(GRANT|REVOKE) (.+?) ON ((?:[A-Z]+ )*)({_NAME})\.({_NAME}) (?:TO|FROM) ", re.IGNORECASE)
_PRIVILEGE = re.compile(r"([A-Z_][A-Z_ ]*[A-Z])\s*(?:\(([^)]*)\))?\s*(?:,|$)", re.IGNORECASE)
_ALL = "ALL PRIVILEGES"
_NOTHING = "USAGE"
_ANY = "*"
_GRANT_OPTION = "GRANT OPTION"


@dataclass(frozen=True, kw_only=True)
class Need:
    """A privilege that the job needs, and the columns on which it is used."""

    privilege: str
    database: str
    table: str
    columns: frozenset[str]

    def __str__(self) -> str:
        """Format it as in a GRANT statement."""
        return f"{self.privilege} ON {self.database}.{self.table}"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One privilege at one place. `database` is a pattern unless `table` is named; `*` is any."""

    privilege: str
    database: str
    table: str = _ANY
    columns: frozenset[str] | None = None
    routine: bool = False
    is_public: bool = False  # given to every account, so that it can't be revoked from this one

    def covers(self, need: Need) -> bool:
        """Return whether this grant alone satisfies the need."""
        return (
            not self.routine
            and self.privilege in (need.privilege, _ALL)
            and self.reaches(need.database)
            and self.table in (_ANY, need.table.lower())
            and (self.columns is None or need.columns <= self.columns)
        )

    def reaches(self, database: str) -> bool:
        """Return whether the grant includes the database; wildcards are used if no table is named."""
        if self.database == _ANY:
            return True
        if self.table != _ANY:
            return self.database == database.lower()
        return re.fullmatch(_pattern(self.database), database, re.IGNORECASE) is not None

    def is_just(self, need: Need) -> bool:
        """Return whether the grant gives exactly this need on its table and nothing more."""
        return self.table != _ANY and self.privilege == need.privilege and self.covers(need)

    def __str__(self) -> str:
        """Format it as in SHOW GRANTS."""
        return f"{self.privilege} ON {self.database}.{self.table}"


class Grants:
    """All grants of one account."""

    def __init__(self, grants: Iterable[Grant], revoked: Iterable[Grant] = ()) -> None:
        """Take the grants, and the partial revokes from global grants (MySQL 8)."""
        self._grants = list(grants)
        self._revoked = list(revoked)

    def missing(self, needs: Iterable[Need]) -> list[Need]:
        """Return the needs that no grant satisfies, in their order."""
        return [need for need in needs if not any(self._gives(grant, need) for grant in self._grants)]

    def _gives(self, grant: Grant, need: Need) -> bool:
        taken = grant.database == _ANY and any(revoke.covers(need) for revoke in self._revoked)
        return grant.covers(need) and not taken

    def surplus(self, needs: Iterable[Need]) -> list[Grant]:
        """Return the grants beyond the needs, including those that are wider than needed."""
        wanted = list(needs)
        own = (grant for grant in self._grants if not grant.is_public)
        return [grant for grant in own if not any(grant.is_just(need) for need in wanted)]


def how_to_create(user: str, needs: Iterable[Need]) -> str:
    """Return the statements that create an account with what the job needs, for an administrator to run there."""
    account = f"'{user}'@'%'"
    grants = "".join(f"; GRANT {need} TO {account}" for need in needs)
    return f"; if the account is missing: CREATE USER {account} IDENTIFIED BY '…'{grants}"


def parse_grants(lines: Iterable[str]) -> Grants:
    """Parse the answer of SHOW GRANTS; lines that are not about a database are ignored."""
    granted: list[Grant] = []
    revoked: list[Grant] = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            (granted if match[1].upper() == "GRANT" else revoked).extend(_read(line, match))
    return Grants(granted, revoked)


def _read(line: str, match: re.Match[str]) -> Iterator[Grant]:
    kind, database, table = match[3].strip().upper(), _unquote(match[4]), _unquote(match[5])
    routine = kind not in ("", "TABLE")
    public = line[match.end() :].upper().startswith("PUBLIC")
    for name, columns in _PRIVILEGE.findall(match[2]):
        privilege = _ALL if name.upper() == "ALL" else name.upper()
        if privilege != _NOTHING:
            rights = _columns(columns)
            yield Grant(
                privilege=privilege, database=database, table=table, columns=rights, routine=routine, is_public=public
            )
    if line.upper().rstrip(";").endswith("WITH GRANT OPTION"):
        yield Grant(privilege=_GRANT_OPTION, database=database, table=table, routine=routine, is_public=public)


def _columns(text: str) -> frozenset[str] | None:
    return frozenset(_unquote(name.strip()) for name in text.split(",")) if text else None


def _unquote(name: str) -> str:
    quote = name[0]
    plain = name[1:-1].replace(quote * 2, quote) if quote in '`"' else name
    return plain.lower()  # as servers with lower_case_table_names print it


def _pattern(name: str) -> str:
    r"""Turn a database name of GRANT into a regular expression: `%` and `_` are wildcards, `\_` is not."""
    wildcards = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|.", name)
    return "".join(re.escape(part[1:]) if len(part) > 1 else wildcards.get(part, re.escape(part)) for part in parts)

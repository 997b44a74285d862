"""What the errors of servers and drivers mean: which may pass, and what to do about the others.

Numbers: the server and client error references of MySQL and MariaDB.
"""

from collections.abc import Callable

from sqlalchemy.exc import DBAPIError, OperationalError

# Lock wait timeout, deadlock, a row changed since it was read, and a row that another session inserted meanwhile.
_DUPLICATE = 1062
_CONFLICTS = frozenset({1020, _DUPLICATE, 1205, 1213})
_FAILOVER = frozenset({
    1047,  # Galera: this node has not joined the cluster
    1180,  # error during commit: Galera and Group Replication refuse it so
    1290, 1792, 1836,  # --read-only, as on a server that has just become a replica
    3032,  # offline mode
    3100, 3101,  # Group Replication: the transaction was rolled back
})  # fmt: skip
_NO_NUMBER = -1  # the driver's own errors
_SERVER_AWAY = frozenset({
    _NO_NUMBER,  # the driver: the connection is not available any more
    1040,  # too many connections
    1053,  # server shutdown in progress
    1158, 1159, 1160, 1161,  # network read and write errors and timeouts, seen by the server
    1203, 1226,  # this user has too many connections
    1927,  # connection was killed (MariaDB)
    2002, 2003, 2005, 2006, 2013, 2055,  # can't connect, unknown host, gone away, lost
    3024,  # the driver's read_timeout, without its C extension
    3169, 4031,  # session was killed, disconnected for inactivity (MySQL)
})  # fmt: skip
_NOT_REACHED = frozenset({2002, 2003, 2005})
_AWAY = _NOT_REACHED | {2006, 2013, 2055, 3024}
_WRONG_LOGIN = frozenset({1045, 1698})
_STATEMENT_BINLOG = frozenset({1665})
_WRONG_TYPE = frozenset({1264, 1265, 1292, 1366, 1406})  # out of range, truncated, incorrect, too long
_NO_GRANT = frozenset({1044, 1142, 1143})
_NO_ADMIN_GRANT = frozenset({1227})
_NO_SCHEMA = frozenset({1044, 1049})
_WRONG_SCHEMA = frozenset({1049, 1054, 1146})  # no such database, column, table
_TRANSIENT = _CONFLICTS | _FAILOVER | _SERVER_AWAY
_SYNTAX = 1064
# A row is refused because of its values. By SQLSTATE: no row, no case or several rows where a trigger needs one, bad
# data, an integrity constraint, a view's check, a SIGNAL. By number what has no special SQLSTATE: several rows for
# one variable, a value that does not fit its type, a partition, a SIGNAL of any class, a check of MySQL.
_ABOUT_ROWS_STATES = ("02", "20", "21", "22", "23", "44", "45")
_ABOUT_ROWS = frozenset({1172, 1265, 1366, 1411, 1526, 1644, 1748, 3819})

NOT_REACHED_HINT = "is the server up, and is its address in [databases] right?"
_WAYS_OUT = (
    (_WRONG_LOGIN, "check user and password in [databases]"),
    # No other statement of the program needs a grant of this kind.
    (_NO_ADMIN_GRANT, "to read the lag, grant REPLICA MONITOR (MariaDB 10.5+) or REPLICATION CLIENT (MySQL) on *.*"),
    (_NO_GRANT, "the README lists the grants"),
    (_WRONG_SCHEMA, "check the schema in [databases]"),
    (_STATEMENT_BINLOG, "set binlog_format to ROW or MIXED on this server"),
    (_WRONG_TYPE, "check the types of the table's columns, and what its triggers write"),
    (_NOT_REACHED, NOT_REACHED_HINT),
)


def is_away(error: BaseException) -> bool:
    """Whether no server answered, or the server stopped answering."""
    return error_number(error) in _AWAY


def error_number(error: BaseException) -> int | None:
    """Return the error number of the server or driver; None if there is none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "errno", None)


def is_transient(error: BaseException) -> bool:
    """Decide whether a retry may help: after a lock conflict, in a failover, when a server is away."""
    if getattr(error, "may_pass", False):  # an error of ours
        return True
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return True
    return error_number(error) in _TRANSIENT


def passes_once() -> Callable[[BaseException], bool]:
    """Return `is_transient` for the attempts of one unit of work, in which a duplicate row is transient only once.

    The next attempt finds a row that another session has inserted meanwhile. A duplicate that comes again
    is one of another unique key, or of a row that a trigger writes, and stays.
    """
    duplicates = 0

    def may_pass(error: BaseException) -> bool:
        nonlocal duplicates
        duplicates += error_number(error) == _DUPLICATE
        return is_transient(error) and (error_number(error) != _DUPLICATE or duplicates == 1)

    return may_pass


def is_about_rows(error: BaseException) -> bool:
    """Tell whether the server refused a row because of its values, so that other rows may be written."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if getattr(original, "sqlite_errorname", "").startswith("SQLITE_CONSTRAINT"):
        return True
    state = getattr(original, "sqlstate", None) or ""
    return state[:2] in _ABOUT_ROWS_STATES or error_number(error) in _ABOUT_ROWS


def is_unknown_statement(error: BaseException) -> bool:
    """Decide whether this server does not know the statement, because of its version or product."""
    return error_number(error) == _SYNTAX


def is_no_admin_grant(error: BaseException) -> bool:
    """Whether the statement needs a grant for the whole server that this user lacks."""
    return error_number(error) in _NO_ADMIN_GRANT


def is_wrong_login(error: BaseException | None) -> bool:
    """Whether user or password are wrong."""
    return error is not None and error_number(error) in _WRONG_LOGIN


def is_no_schema(error: BaseException | None) -> bool:
    """Whether the schema does not exist, or the user may not see it."""
    return error is not None and error_number(error) in _NO_SCHEMA


def refuses_an_option(error: BaseException) -> bool:
    """Decide whether the driver refused an option; an error of a server has a number."""
    if isinstance(error, DBAPIError):
        return error_number(error) == _NO_NUMBER and not isinstance(error, OperationalError)  # it was lost
    return isinstance(error, (AttributeError, TypeError, ValueError))


def describe(error: BaseException) -> str:
    """Format a driver's error as one line: its text and number, without the statement."""
    original = error.orig if isinstance(error, DBAPIError) else error
    text = getattr(original, "msg", None) or str(original)
    number = error_number(error)
    line = " ".join(str(text).split())
    return f"{line} ({number})" if number is not None and str(number) not in line else line


def way_out(error: BaseException) -> str:
    """Return what to do about an error; empty if its number is not known here."""
    number = error_number(error)
    for numbers, advice in _WAYS_OUT:
        if number in numbers:
            return advice
    return (
        "see which unique or foreign key, check or trigger of the table refuses the row" if is_about_rows(error) else ""
    )

"""The time of the last apply, in a property next to the mod-time: only a later export may be used.

It is written only if an export is configured. It is never a switch: only the time of an export is compared with it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta

import sqlalchemy as sa

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import LastApply, Plan, parse_last_apply, parse_time
from chatsync.databases.connection import Database
from chatsync.databases.tables import ppc_properties, utc_now
from chatsync.errors import DatabaseError

_PROPERTY = ppc_properties.c.name == sa.bindparam("property")
_READ = sa.select(ppc_properties.c.value).where(_PROPERTY)
_NOW = sa.select(utc_now())
_SET = (
    sa.update(ppc_properties)
    .where(_PROPERTY)
    .values(value=sa.bindparam("new"), last_change=sa.func.current_timestamp())
)
_SET_OURS = _SET.where(ppc_properties.c.value == sa.bindparam("ours"))
_ADD = sa.insert(ppc_properties).values(name=sa.bindparam("property"), value=sa.bindparam("new"))
# The answer to a commit may come this long after the deadline, and SQLite's clock counts only milliseconds.
_GRACE, _PRECISION = timedelta(seconds=60), timedelta(milliseconds=1)

logger = logging.getLogger(__name__)


def read_last_apply(settings: Settings, scope: CancelScope) -> LastApply | None:
    """Read the time of the last apply; None if it was never written. Raises PropertyError if it is not a time."""
    with Database(settings.databases.dict, name="dict", scope=scope) as database:
        return _read(database, settings)


def _read(database: Database, settings: Settings) -> LastApply | None:
    name = settings.export.property
    rows = database.rows(_READ, {"property": name}, what="read the time of the last apply")
    if not rows:
        return None
    return parse_last_apply(rows[0].value, name=name, where=str(database), timezone=settings.timezone)


@contextmanager
def noted_as_last(plan: Plan, settings: Settings, scope: CancelScope) -> Iterator[None]:
    """Write a time before the first commit of the block and another one after the last, under the job's lock.

    The first is the latest time at which a commit is possible, so that it is also right if the apply is
    killed. A plan without changes writes its time only if there is none yet. If the second time can't be
    written, there is a warning and the first one stays, so exports are unused for a longer time.
    """
    if not settings.export.path:
        yield
        return
    with Database(settings.databases.dict, name="dict", scope=scope, writable=True) as database:
        latest = timedelta(seconds=scope.remaining) + _GRACE
        if not plan.changes:
            if not database.rows(_READ, {"property": settings.export.property}, what="read the time of the last apply"):
                _note(database, settings, plan, ahead=_PRECISION, ours=None)
            yield
            return
        ours = _note(database, settings, plan, ahead=latest, ours=None)
        try:
            yield
        finally:
            try:
                _note(database, settings, plan, ahead=_PRECISION, ours=ours)
            except DatabaseError as error:
                logger.warning("the time of this apply stays %s, because its end could not be written: %s", ours, error)


def _note(database: Database, settings: Settings, plan: Plan, *, ahead: timedelta, ours: str | None) -> str:
    """Write the database's current time plus `ahead`; if `ours` is given, only in place of this value."""

    def write(connection: sa.Connection) -> str:
        now = parse_time(connection.execute(_NOW).scalar_one(), timezone=UTC)
        new = str(LastApply(time=now + ahead, trace_id=plan.trace_id))
        values = {"property": settings.export.property, "new": new, "ours": ours}
        if not connection.execute(_SET if ours is None else _SET_OURS, values).rowcount and ours is None:
            connection.execute(_ADD, values)
        return new

    return database.do(write, what="write the time of this apply")

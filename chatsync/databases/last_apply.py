"""The time of the last apply, in a property beside the mod-time: an export must be younger to be used.

Only written where an export is configured, and never a switch: nothing but the age of an export is compared with it.
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
# A commit that was sent before the deadline may be answered for so long, and a clock of SQLite counts milliseconds.
_GRACE, _PRECISION = timedelta(seconds=60), timedelta(milliseconds=1)

logger = logging.getLogger(__name__)


def read_last_apply(settings: Settings, scope: CancelScope) -> LastApply | None:
    """Read when an apply last changed something; None where none has noted it. Raises PropertyError for no time."""
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
    """Note a time before the first commit of the block and another one after its last, under the job's lock.

    The first is the latest at which a commit may still come, so that it also holds for an apply that is
    killed. A plan without changes notes its time only where there is none yet. If the second one can't be
    written, the first one stays, which only keeps exports unused for longer: that is a warning.
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
                logger.warning("the time of this apply stays %s, as its end could not be noted: %s", ours, error)


def _note(database: Database, settings: Settings, plan: Plan, *, ahead: timedelta, ours: str | None) -> str:
    """Write the database's own time and so much more; if `ours` is given, only in its place."""

    def write(connection: sa.Connection) -> str:
        now = parse_time(connection.execute(_NOW).scalar_one(), timezone=UTC)
        new = str(LastApply(time=now + ahead, trace_id=plan.trace_id))
        values = {"property": settings.export.property, "new": new, "ours": ours}
        if not connection.execute(_SET if ours is None else _SET_OURS, values).rowcount and ours is None:
            connection.execute(_ADD, values)
        return new

    return database.do(write, what="note the time of this apply")

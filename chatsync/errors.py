"""Every way in which a command may end, and the exit code that goes with it."""

import enum
import signal


class ExitCode(enum.IntEnum):
    """What the process says to cron. Scripts rely on the numbers: they never change meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    OUT_OF_DATE = 4
    DISABLED = 5
    BUSY = 6
    DIFFERENCE = 10


class CheckStatus(enum.IntEnum):
    """What `check` says to monitoring, as exit code too (Monitoring Plugins guidelines, "Return Codes")."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class ChatsyncError(Exception):
    """An expected failure. Its text says what failed, where, and what to do, on one line."""

    exit_code: int = ExitCode.FAILED


class SourceError(ChatsyncError):
    """The exclusion list must be read whole, or not at all."""


class SourceAwayError(SourceError):
    """Where the list is kept does not answer, which says nothing about the list itself."""


class DatabaseError(ChatsyncError):
    """Every database must answer: a silent shard is not a shard where nobody is off."""

    database: str = ""  # which one: "dict" or "shard 2"


class PropertyError(ChatsyncError):
    """The mod-time property must hold a time; anything else is not "never synced"."""


class IncompleteError(ChatsyncError):
    """A report that lacks a part shows the others, says which one, and has failed."""


class OutputError(ChatsyncError):
    """What a command writes for others (plan, record, output) is written whole."""


class RecordError(ChatsyncError):
    """A run record is taken whole, as the run wrote it, or not at all."""


class PushError(ChatsyncError):
    """What monitoring is to know has reached it, or the check has failed."""


class DeadlineError(ChatsyncError):
    """A command ends within `[run] deadline`, retries and waits included."""


class LockLostError(ChatsyncError):
    """Nothing is written without the lock that keeps a second apply away."""


class UnfinishedError(ChatsyncError):
    """An apply that did not do all has failed, though one shard's failure does not stop the others.

    `reason` is what stopped all of them, and gives the exit code; None when they went on to the end.
    """

    def __init__(self, text: str, *, reason: ChatsyncError | None) -> None:
        """Say what is missing, and why."""
        super().__init__(text)
        self.reason = reason
        if reason is not None:
            self.exit_code = reason.exit_code


class ConfigError(ChatsyncError):
    """The configuration is complete, known key by key, and fits the databases."""

    exit_code = ExitCode.USAGE


class UnknownRunError(ChatsyncError):
    """A recorded run is named so that it can be no other one."""

    exit_code = ExitCode.USAGE


class RefusedError(ChatsyncError):
    """A plan over a limit is refused as a whole, before the first write."""

    exit_code = ExitCode.REFUSED


class OutOfDateError(ChatsyncError):
    """A plan is applied only while it is still true, and exactly as `diff` wrote it."""

    exit_code = ExitCode.OUT_OF_DATE

    def __init__(self, reason: str, *, way_out: str = "run `chatsync diff` again") -> None:
        """Say why the plan does not hold, and what to do, which is nearly always the same."""
        super().__init__(f"the plan is out of date: {reason}; {way_out}")


class DisabledError(ChatsyncError):
    """A mod-time in the future switches the job off."""

    exit_code = ExitCode.DISABLED


class BusyError(ChatsyncError):
    """One apply at a time for a feature."""

    exit_code = ExitCode.BUSY


class StoppedError(ChatsyncError):
    """SIGTERM and SIGINT end a command after the batch in hand, with 128 + the signal."""

    def __init__(self, signum: int) -> None:
        """Remember the signal: the exit code is made of it."""
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum

"""The step log: a line for every ended step of the job, in `runs.jsonl` in the folder of the run records.

A run record exists only for an apply that changed something. The step log also has the refused,
failed and idle steps, and each mod-time that was set by hand. If it can't be written, that does not
change how a command ends.
"""

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from chatsync.config.settings import Records
from chatsync.core import distance, short_time
from chatsync.errors import ExitCode, OutputError, RecordError
from chatsync.files import write_whole
from chatsync.redaction import without_secrets

FILE = "runs.jsonl"
DIFF, SET_MODTIME = "diff", "set-modtime"
CHAIN = (DIFF, "apply", SET_MODTIME)

# Longer messages are cut: a line is written in one piece and read by people.
_LONGEST_MESSAGE = 2000
# Old lines are removed once a day, not at every step.
_SLACK = timedelta(days=1)
_LOCK_ATTEMPTS, _LOCK_PAUSE_SECONDS = 100, 0.01


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How one command of the chain ended.

    `by_hand` is true if the command is not a step of the chain: an undo, a mod-time set by an operator (its
    value is in `modtime`, and `reason` is the given one), or wrong usage at a terminal. `verdict` and `counts`
    are those of the plan; `waits` is whether `diff` saw a list that is newer than the mod-time.
    """

    time: datetime
    step: str
    trace_id: str
    feature: str
    exit_code: int
    seconds: float
    user: str
    host: str
    message: str | None = None
    verdict: str | None = None
    counts: Mapping[str, int] = {}
    waits: bool = False
    by_hand: bool = False
    modtime: datetime | None = None
    reason: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether the command succeeded."""
        return self.exit_code in (ExitCode.OK, ExitCode.DIFFERENCE)

    @property
    def failed(self) -> bool:
        """Whether the command failed. Finding the job disabled is not a failure."""
        return not self.is_good and self.exit_code != ExitCode.DISABLED


class StepLog:
    """The file; without `records.dir`, nothing is written and nothing is found."""

    def __init__(self, section: Records) -> None:
        """Take the folder and the time to keep lines from the configuration."""
        self._path = Path(section.dir) / FILE if section.dir else None
        self._keep = timedelta(seconds=section.keep)

    def append(self, step: Step) -> None:
        """Add a line and remove those older than `records.keep`. Raises OutputError."""
        if self._path is None:
            return
        short = msgspec.structs.replace(step, message=without_secrets(step.message or "")[:_LONGEST_MESSAGE] or None)
        text = json.dumps(msgspec.to_builtins(short), ensure_ascii=False, separators=(",", ":"))
        line = without_secrets(text).encode(errors="replace") + b"\n"  # a path may contain bytes that are not UTF-8
        try:
            if not self._path.parent.exists():
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                _hand_over(self._path.parent)
            with self._locked(self._path) as handle:
                self._write(self._path, handle, line, oldest=step.time - self._keep)
        except (OSError, OutputError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise OutputError(
                f"cannot write {self._path}: {why}; this step is missing in it, see records.dir"
            ) from None

    @contextmanager
    def _locked(self, path: Path) -> Iterator[int]:
        """Open the file for appending and lock it inside the block."""
        while True:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock(handle)
                # Another process may have replaced the file with a shortened one meanwhile.
                if _is_at(path, handle):
                    _hand_over(path)
                    yield handle
                    return
            finally:
                os.close(handle)

    def _write(self, path: Path, handle: int, line: bytes, *, oldest: datetime) -> None:
        size = os.fstat(handle).st_size
        first = _parsed(os.pread(handle, 4 * _LONGEST_MESSAGE, 0).partition(b"\n")[0])
        if first is not None and first.time < oldest - _SLACK:
            kept = [old for old in path.read_bytes().splitlines(keepends=True) if _is_younger(old, oldest)]
            write_whole(path, b"".join([*kept, line]).decode())
            return
        cut_short = size and os.pread(handle, 1, size - 1) != b"\n"  # by a full disk or a crash
        os.write(handle, b"\n" + line if cut_short else line)

    def newest(self, *, feature: str) -> list[Step]:
        """Return the steps of a feature, the newest first. Raises RecordError for a file that can't be read."""
        if self._path is None:
            return []
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError(f"cannot read {self._path}: {error.strerror}; see records.dir") from None
        steps = (_parsed(line) for line in reversed(lines))
        return [step for step in steps if step is not None and step.feature == feature]


def _hand_over(path: Path) -> None:
    """Give a file that root created to the owner of its folder, so that the job's user can write it, too."""
    if os.geteuid() == 0:
        around = path.parent.stat()
        os.chown(path, around.st_uid, around.st_gid)


def _lock(handle: int) -> None:
    """Wait for the lock, but not for long: appended lines don't mix even without it."""
    for _ in range(_LOCK_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE_SECONDS)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _parsed(line: bytes) -> Step | None:
    """Read a line; return None if it was cut short or is of another version."""
    try:
        return msgspec.json.decode(line, type=Step)
    except (msgspec.MsgspecError, ValueError):
        return None


def _is_younger(line: bytes, oldest: datetime) -> bool:
    step = _parsed(line)
    return step is not None and step.time >= oldest


def current_user() -> str:
    """Return the name of the user who runs the program."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return str(os.getuid())


def command_line(arguments: Sequence[str]) -> str:
    """Return the command line without the path of the program and without passwords."""
    return without_secrets(shlex.join(["chatsync", *arguments[1:]]))


@dataclass(frozen=True, kw_only=True)
class StandingFailure:
    """A step of the chain whose last attempt failed: this attempt, the number of failures in a row, and since when."""

    last: Step
    count: int
    since: datetime


def standing_failures(steps: Sequence[Step]) -> list[StandingFailure]:
    """Return the steps of the chain that are failing now; in `steps`, the newest is first."""
    standing = []
    for name in CHAIN:
        attempts = [step for step in steps if step.step == name and not step.by_hand]
        count = next((at for at, step in enumerate(attempts) if not step.failed), len(attempts))
        if count:
            standing.append(StandingFailure(last=attempts[0], count=count, since=attempts[count - 1].time))
    return standing


def failure_in_words(failure: StandingFailure, *, now: datetime) -> str:
    """Return the text about a failing step: when and why it failed, and since when it has been failing."""
    last = failure.last
    again = f"; {failure.count} times in a row since {short_time(failure.since)}" if failure.count > 1 else ""
    verb = "was refused" if last.exit_code == ExitCode.REFUSED else "failed"
    what = f"{last.step} {verb} {distance(last.time, now=now)}, exit {last.exit_code}"
    return f"{what}: {last.message or 'no message was logged'}{again}"


def switched_by(steps: Sequence[Step], modtime: datetime, *, now: datetime) -> str:
    """Return who set this mod-time by hand, when and why; empty if the step log does not show it."""
    step = switching_step(steps, modtime)
    if step is None:
        return ""
    why = f": {step.reason}" if step.reason else ""
    return f"set by {step.user}@{step.host} {distance(step.time, now=now)}{why}"


def switching_step(steps: Sequence[Step], modtime: datetime) -> Step | None:
    """Find the last mod-time that was set by hand, if it is this one; `steps` are the newest first."""
    found = (step for step in steps if step.step == "set-modtime" and step.modtime and step.is_good)
    last = next(found, None)
    return last if last and last.modtime == modtime else None

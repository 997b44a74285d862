"""Notify people when the state of the job changes, with a command of their own (`notify.command`)."""

import json
import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO

from chatsync.config.settings import Notify
from chatsync.core import is_disabled, short_time
from chatsync.errors import ExitCode
from chatsync.sync.step_log import DIFF, SET_MODTIME, Step, failure_in_words, standing_failures

logger = logging.getLogger(__name__)


class State(StrEnum):
    """The state of the job, as its last steps show it."""

    WELL = "well"
    OFF = "off"
    REFUSED = "refused"
    FAILING = "failing"
    WAITING = "waiting"  # for too long, for any reason


def job_state(steps: Sequence[Step], *, patience: timedelta) -> State:
    """Return the state of the job after these steps, the newest first; a list may wait for as long as `patience`."""
    steps = [step for step in steps if not step.by_hand or step.modtime]  # an undo says nothing about the job
    if steps and _finds_it_disabled(steps[0]):
        return State.OFF
    since = waiting_since(steps)
    if since is not None and steps[0].time - since >= patience:
        return State.WAITING
    standing = standing_failures(steps)
    if any(failure.last.exit_code == ExitCode.REFUSED for failure in standing):
        return State.REFUSED
    return State.FAILING if standing else State.WELL


def waiting_since(steps: Sequence[Step]) -> datetime | None:
    """Return when a diff first saw a list that has not been synced since then; None if no list is waiting.

    The time is that of the job's own diffs, so a list that is synced by the first run that sees it never waits.
    """
    since = None
    for step in steps:
        if not step.is_good or step.step not in (DIFF, SET_MODTIME):
            continue
        if step.step == SET_MODTIME or not step.waits:
            break
        since = step.time
    return since


def _finds_it_disabled(step: Step) -> bool:
    if step.by_hand:
        return is_disabled(step.modtime, now=step.time)
    return step.exit_code == ExitCode.DISABLED or step.verdict == "disabled"


def notify(section: Notify, steps: Sequence[Step]) -> None:
    """Run the command if the newest step has changed the state. A failure of the command is a warning.

    It gets a JSON object on standard input; after `notify.timeout` it is killed with all processes that it started.
    """
    if not steps:
        return
    patience = timedelta(seconds=section.waiting)
    before, after = job_state(steps[1:], patience=patience), job_state(steps, patience=patience)
    if before is after:
        return
    last = steps[0]
    since = waiting_since(steps) if after is State.WAITING else None
    why = f": {last.step}, exit {last.exit_code}: {last.message}" if last.message else ""
    if since is not None:
        failures = (failure_in_words(failure, now=last.time) for failure in standing_failures(steps))
        why = ": " + "; ".join([f"the list has not been synced since {short_time(since)}", *failures])
    document = {
        "text": f"chatsync {last.feature} on {last.host} is {after}, was {before}{why}",
        "feature": last.feature,
        "state": after,
        "before": before,
        "time": last.time.isoformat(),
        "step": last.step,
        "exit_code": last.exit_code,
        "message": last.message,
        "waiting_since": None if since is None else since.isoformat(),
        "reason": last.reason,
        "trace_id": last.trace_id,
        "user": last.user,
        "host": last.host,
    }
    try:
        _run(section, json.dumps(document, ensure_ascii=False).encode() + b"\n")
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("notify.command did not tell that the job is %s: %s", after, error)


def _errors_file() -> IO[bytes]:
    """Open a file for the command's standard error; on a full disk there is none."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return Path(os.devnull).open("w+b")


def _run(section: Notify, document: bytes) -> None:
    # Into a file: a pipe would also wait for processes that the command leaves running, such as a mailer.
    with _errors_file() as errors:
        process = subprocess.Popen(  # noqa: S603  # the operator's own command
            section.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
        with process:
            try:
                process.communicate(document, timeout=section.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        errors.seek(0)
        last_line = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
    if process.returncode:
        raise subprocess.SubprocessError(f"it ended with exit code {process.returncode}: {last_line}")

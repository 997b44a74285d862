"""Telling people when the state of the job changes, by a command of theirs (`notify.command`)."""

import json
import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from enum import StrEnum

from chatsync.config.settings import Notify
from chatsync.core import is_disabled
from chatsync.errors import ExitCode
from chatsync.sync.step_log import Step, standing_failures

logger = logging.getLogger(__name__)


class State(StrEnum):
    """The state of the job, as its steps tell it."""

    WELL = "well"
    OFF = "off"
    REFUSED = "refused"
    FAILING = "failing"


def job_state(steps: Sequence[Step]) -> State:
    """Return the state of the job after these steps, the newest first."""
    if steps and _finds_it_disabled(steps[0]):
        return State.OFF
    standing = standing_failures(steps)
    if any(failure.last.exit_code == ExitCode.REFUSED for failure in standing):
        return State.REFUSED
    return State.FAILING if standing else State.WELL


def _finds_it_disabled(step: Step) -> bool:
    if step.by_hand:
        return is_disabled(step.modtime, now=step.time)
    return step.exit_code == ExitCode.DISABLED or step.verdict == "disabled"


def notify(section: Notify, steps: Sequence[Step]) -> None:
    """Run the command when the newest step has changed the state. What goes wrong is a warning.

    It gets a JSON object on standard input; after `notify.timeout` it is killed with all that it started.
    """
    before, after = job_state(steps[1:]), job_state(steps)
    if before is after:
        return
    last = steps[0]
    why = f": {last.step}, exit {last.exit_code}: {last.message}" if last.message else ""
    document = {
        "text": f"chatsync {last.feature} on {last.host} is {after}, was {before}{why}",
        "feature": last.feature,
        "state": after,
        "before": before,
        "time": last.time.isoformat(),
        "step": last.step,
        "exit_code": last.exit_code,
        "message": last.message,
        "reason": last.reason,
        "trace_id": last.trace_id,
        "user": last.user,
        "host": last.host,
    }
    try:
        _run(section, json.dumps(document, ensure_ascii=False).encode() + b"\n")
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("notify.command did not tell that the job is %s: %s", after, error)


def _run(section: Notify, document: bytes) -> None:
    # Into a file: a pipe would also have to wait for what the command leaves running, such as a mailer.
    with tempfile.TemporaryFile() as errors:
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

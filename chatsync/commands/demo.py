"""`chatsync demo`: create an example in a folder and run the job on it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from chatsync.demo_world import UNLISTED_CLIENT, write_world
from chatsync.errors import ChatsyncError

_NEXT = """\
That was the main job: the feature state agrees with the list, and the list is marked as synced. Try next:

  {chatsync} status
  {chatsync} history
  {chatsync} doctor
  echo {client},try >> {folder}/exclusions.csv && {chatsync} diff
  {chatsync} apply
  {chatsync} explain {client}
  {chatsync} set-modtime --disable && {chatsync} diff --if-modified
  {chatsync} set-modtime --reset
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def demo(folder: Path) -> None:
    """Create an example in DIR (SQLite databases, a list as CSV, a configuration) and run the job on it.

    The commands run as they would in cron: there is no special code for the demo.
    """
    config = write_world(folder)
    plan = folder / "plan.json"
    base = ["chatsync", "-c", str(config)]
    click.echo(f"An example with 4 shards is in {folder}: see {config} and {folder / 'exclusions.csv'}.")
    _show_and_run([*base, "diff", "--plan", str(plan), "--limit", "3"])
    _show_and_run([*base, "apply", "--plan", str(plan)])
    _show_and_run([*base, "set-modtime", "--plan", str(plan)])
    _show_and_run([*base, "diff"])
    click.echo()
    program = shlex.join([*_this_program(), *base[1:]])
    click.echo(_NEXT.format(chatsync=program, folder=shlex.quote(str(folder)), client=UNLISTED_CLIENT), nl=False)


def _this_program() -> list[str]:
    """Return the words with which the user's shell runs this program."""
    if shutil.which("chatsync"):
        return ["chatsync"]
    return [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) else [sys.executable, "-m", "chatsync"]


def _show_and_run(command: list[str]) -> None:
    click.echo()
    click.secho("$ " + shlex.join(command), bold=True)
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", *command], check=False)  # noqa: S603  # our own program
    if done.returncode:
        msg = f"`{shlex.join(command)}` ended with exit code {done.returncode}"
        raise ChatsyncError(msg)

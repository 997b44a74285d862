"""`chatsync sync`: the three steps of the main job in one process."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from chatsync.commands.options import dry_run_option, live_option
from chatsync.databases.kept_connections import connections_are_kept
from chatsync.errors import OutputError


@click.command()
@click.option("--full", is_flag=True, help="Compare even if the list is already synced; this repairs drift.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Keep the plan in FILE; otherwise it is deleted at the end.",
)
@live_option
@dry_run_option
@click.pass_context
def sync(ctx: click.Context, plan_file: Path | None, *, full: bool, live: bool) -> None:
    """Run diff --if-modified, apply and set-modtime, each only if the one before it succeeded.

    Rules, output, log lines, metrics, records and exit codes are those of the three commands;
    `run.deadline` is for each of them.
    """
    with _plan_file(plan_file) as file, connections_are_kept():
        _step(ctx, "diff", plan_file=file, if_modified=not full, live=live)
        _step(ctx, "apply", plan_file=file)
        _step(ctx, "set-modtime", plan_file=file)


def _step(ctx: click.Context, name: str, **options: object) -> None:
    """Run one command as the command line does, with these options."""
    root = ctx.find_root()
    command = root.command.get_command(root, name) if isinstance(root.command, click.Group) else None
    if command is None:
        raise LookupError(name)
    ctx.obj.next_step(name)
    ctx.invoke(command, **options)


@contextmanager
def _plan_file(named: Path | None) -> Iterator[Path]:
    """Yield the path of the plan: the named file, or one in a temporary folder that only this user can enter."""
    if named:
        yield named
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="chatsync-")
    except OSError as error:
        raise OutputError(f"no temporary folder for the plan: {error.strerror}; name a file with --plan") from None
    with folder as path:
        yield Path(path) / "plan.json"

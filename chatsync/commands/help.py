"""`chatsync help`: show the help of a command."""

import click


@click.command()
@click.argument("names", nargs=-1, metavar="[COMMAND]")
@click.pass_context
def help(ctx: click.Context, names: tuple[str, ...]) -> None:  # noqa: A001  # named after the command, as all are
    """Show the help of COMMAND, or of the program."""
    shown = ctx.find_root()
    for name in names:
        group = shown.command
        known = group.list_commands(shown) if isinstance(group, click.Group) else []
        command = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if command is None:
            raise click.exceptions.NoSuchCommand(name, possibilities=known, ctx=shown)
        shown = click.Context(command, info_name=name, parent=shown)
    click.echo(shown.get_help())

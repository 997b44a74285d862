"""`chatsync report`: write a page that shows the state of the job, for people without a shell."""

from datetime import UTC, datetime
from pathlib import Path

import click

from chatsync.commands.language_option import chosen_language, language_option
from chatsync.commands.options import begin
from chatsync.errors import IncompleteError
from chatsync.files import write_whole
from chatsync.invocation import Invocation
from chatsync.page.facts import MOST_CHANGED, MOST_CLIENTS, Seen, make_page
from chatsync.page.render import render

_MODE = 0o640  # for the group of a web server


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, readable=False), metavar="FILE", help="Write it to FILE."
)
@click.option(
    "--clients",
    type=click.Choice(["changed", "all", "none"]),
    default="changed",
    show_default=True,
    help=f"Clients with an answer: the last {MOST_CHANGED} that runs changed, all (up to {MOST_CLIENTS}), or none.",
)
@language_option
@click.pass_obj
def report(invocation: Invocation, output: Path | None, clients: str, language: str | None) -> None:
    """Write the state of the job as one HTML page, for people without a shell.

    It has the state of the list and the databases, a look-up of clients, charts, the last runs, rows to
    repair and unknown clients. The page loads nothing from the network and names no host, no database
    and no database user. It holds client numbers (see --clients): serve it behind a login. FILE is
    written whole or not at all, with mode 0640. If a part can't be read, the page says so, and the
    command ends with 1.
    """
    with begin(invocation) as (settings, scope):
        shows_clients = clients != "none"
        seen = Seen(settings=settings, scope=scope, trace_id=invocation.trace_id, shows_clients=shows_clients)
        page = make_page(
            seen.gather(),
            chosen_language(language, configured=settings.people.language),
            clients=clients,
            now=datetime.now(UTC),
        )
        html = render(page)
        if output is None:
            click.echo(html)
        else:
            write_whole(output, html, mode=_MODE)
    if seen.errors:
        raise IncompleteError("; ".join(str(error) for error in seen.errors.values()))

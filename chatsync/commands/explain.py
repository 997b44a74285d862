"""`chatsync explain`: show whether clients have the chat, and why."""

import re
import sys

import click

from chatsync.commands.language_option import chosen_language, language_option
from chatsync.commands.options import begin, echo, format_option
from chatsync.diagnostics.client_facts import gather
from chatsync.diagnostics.explain_report import explain_report
from chatsync.diagnostics.survey import Survey
from chatsync.errors import IncompleteError
from chatsync.exclusions.client_ids import client_id
from chatsync.invocation import Invocation


@click.command()
@click.argument("client_ids", nargs=-1, metavar="CLIENT_ID...")
@language_option
@format_option("table", "json")
@click.pass_obj
def explain(invocation: Invocation, client_ids: tuple[str, ...], language: str | None, output_format: str) -> None:
    """Show whether clients have the chat, and why.

    Prints for each CLIENT_ID one sentence, then the facts (the list, the databases, which run changed
    it and what the next one will do), and at the end a sentence for the reply, in --language. With `-`,
    or without CLIENT_ID in a pipe, it reads ids from standard input. It writes nothing, so it can be
    used at any time, also while the job is running or disabled.
    """
    asked = _asked(client_ids)
    with begin(invocation) as (settings, scope):
        survey = Survey(settings=settings, scope=scope, trace_id=invocation.trace_id)
        job, clients = gather(survey, asked)
    speaks = chosen_language(language, configured=settings.people.language)
    echo(explain_report(clients, job, language=speaks, output_format=output_format), output_format=output_format)
    if job.errors:
        raise IncompleteError(job.errors)


def _asked(arguments: tuple[str, ...]) -> list[int]:
    """Return the given ids without duplicates, in the given order."""
    words = list(arguments)
    if not words and not sys.stdin.isatty():
        words = ["-"]
    if "-" in words:
        at = words.index("-")
        words[at : at + 1] = re.split(r"[\s,;]+", sys.stdin.read())
    asked = {word: client_id(word) for word in words if word}
    wrong = [f"{word[:40]!r} ({why})" for word, why in asked.items() if isinstance(why, str)]
    if wrong:
        msg = f"not a client id: {', '.join(wrong[:5])}"
        raise click.UsageError(msg)
    if not asked:
        msg = "give one or more client ids; `-` reads them from standard input"
        raise click.UsageError(msg)
    return [number for number in dict.fromkeys(asked.values()) if isinstance(number, int)]

"""`--language`, separate from the other options, so that only the commands that use it load the sentences."""

import click

from chatsync.language import LANGUAGES, Language

language_option = click.option(
    "--language",
    type=click.Choice(list(LANGUAGES)),
    help="The language of sentences for people outside the team; default: people.language.",
)


def chosen_language(code: str | None, *, configured: str) -> Language:
    """Return the language that was asked for, or else the configured one."""
    return LANGUAGES[code or configured]

"""`--language`, apart from the other options: only commands that answer people load the sentences."""

import click

from chatsync.language import LANGUAGES

language_option = click.option(
    "--language",
    type=click.Choice(list(LANGUAGES)),
    help="The language of sentences for people outside the team; default: people.language.",
)

"""Lets `python -m chatsync` do what the `chatsync` script does."""

from chatsync.cli import main

main()

"""Entry point of `python -m chatsync`: the same as the `chatsync` script."""

from chatsync.cli import main

main()

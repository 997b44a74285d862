"""The subcommands, each in one file: its options, then a recipe of a few calls."""

"""The subcommands: options, then a recipe. One file a subcommand."""

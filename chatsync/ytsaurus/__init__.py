"""YTsaurus (YT), an outside system: its client and one locked version of a table."""

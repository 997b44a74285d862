"""The feature state from an export of the databases in YT."""

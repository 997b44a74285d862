"""The feature state as read from an export of the databases in YT."""

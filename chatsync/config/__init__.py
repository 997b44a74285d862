"""The configuration: every key, how the file is read, and database URLs."""

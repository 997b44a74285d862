"""The databases: all code with SQL."""

"""Keep a feature off for exactly the clients in an exclusion list."""

__version__ = "0.2.0"

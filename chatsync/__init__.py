"""Keep a feature off for exactly the clients in an exclusion list."""

__version__ = "0.1.0"

"""Keep a feature switched off for exactly the clients that an exclusion list names."""

__version__ = "0.1.0"

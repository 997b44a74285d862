"""Words for people that several messages share. Pure."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 client`, `2 clients`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

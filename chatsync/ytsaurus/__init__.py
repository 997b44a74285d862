"""The YTsaurus cluster, through its own client: one locked version of a table, and what the client's errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager

from chatsync.errors import ChatsyncError, ConfigError


@contextmanager
def client_configuration() -> Iterator[None]:
    """Turn errors of the client's own configuration inside the block into a ConfigError.

    The client reads ~/.yt/config and the YT_ variables when it is imported, and again on request,
    and raises many kinds of errors.
    """
    try:
        yield
    except (ImportError, ChatsyncError):  # the latter: a signal or the deadline
        raise
    except Exception as error:
        text = " ".join(str(getattr(error, "message", "") or error).split())[:200]
        raise ConfigError(
            f"the YT client's own configuration cannot be read: {text}",
            way_out="correct ~/.yt/config or the YT_ variable",
        ) from error

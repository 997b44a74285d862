"""The links that a path goes through, and when the latest of them was set.

A link that is pointed at another table is a new node, whose times say when that happened (YTsaurus
docs, "Symbolic links"). `//a/link&` names the link where `//a/link` would name its target; for a
node that is no link the `&` changes nothing (path_resolver.cpp of ytsaurus/ytsaurus).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chatsync.core import parse_time
from chatsync.ytsaurus.session import AnswerError

_ATTRIBUTES = ("type", "target_path", "modification_time", "creation_time")
_STEP = re.compile(r"(?:\\.|[^/\\])+", re.DOTALL)  # a name in a path, whose own slashes have a backslash before them
_MOST_LINKS = 32


class LinksMovedError(Exception):
    """The links on the way to the table were changed while they were followed."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where a path leads through its links, and the time of the latest of them (None: there is none)."""

    target: str
    latest: datetime | None = None


def follow(client: Any, path: str) -> Way:
    """Follow a path through its links, each one locked by the client's transaction.

    Raises the client's errors, and AnswerError for links that lead in a circle.
    """
    latest: list[datetime] = []
    for _ in range(_MOST_LINKS):
        link, rest = _first_link(client, path)
        if link is None:
            return Way(target=path, latest=max(latest, default=None))
        latest += [time_of(link, name) for name in ("modification_time", "creation_time")]
        path = _text_of(link, "target_path") + rest
    raise AnswerError(f"the path goes through more than {_MOST_LINKS} links, which may lead in a circle")


def _first_link(client: Any, path: str) -> tuple[Any, str]:
    """Return the attributes of the first link on a path and the path behind it; None if there is no link."""
    steps = list(_STEP.finditer(path))
    for step in steps:
        before = path[: step.end()]
        about = client.get(f"{before}&/@", attributes=list(_ATTRIBUTES))
        if about.get("type") == "link":
            # The link itself is locked and asked once more, by its id: from here on it can't be another one.
            node = client.lock(f"{before}&", mode="snapshot")["node_id"]
            link = client.get(f"#{node}&/@", attributes=list(_ATTRIBUTES))
            if link.get("type") != "link":
                raise LinksMovedError(f"{before} was a link and no longer is")
            return link, path[step.end() :]
    return None, ""


def time_of(attributes: Any, name: str) -> datetime:
    """Read an attribute that is a time. Raises AnswerError when it is missing or something else."""
    try:
        return parse_time(_text_of(attributes, name), timezone=UTC)
    except ValueError:
        raise AnswerError(f"the attribute {name} is not a time: {attributes.get(name)!r}") from None


def _text_of(attributes: Any, name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str):
        raise AnswerError(f"the attribute {name} is missing or not a text: {value!r}")
    return str(value)

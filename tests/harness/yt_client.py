"""The real ytsaurus-client, with one thing that it does for every new client done once."""

from __future__ import annotations

import functools
import typing

from yt.wrapper import default_config

if typing.TYPE_CHECKING:
    import pytest


def read_types_once(patch: pytest.MonkeyPatch) -> None:
    """Let the client read the types of its own options once, and not for each client: a sixth of a test's CPU time."""
    patch.setattr(default_config, "get_type_hints", functools.cache(typing.get_type_hints))

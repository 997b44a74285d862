"""A relay that makes a server seem far away: every byte takes half of a round trip in each direction."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Self

from tests.harness.servers import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 1 << 18


class Distance:
    """Listens on `port` of the loopback interface and relays to another one, while it is used in a `with` block."""

    def __init__(self, to: int, *, round_trip: float) -> None:
        """Relay to the port `to`; `round_trip` is in seconds."""
        self._to = to
        self._one_way = round_trip / 2
        self._loop = asyncio.new_event_loop()
        self.port = 0

    def __enter__(self) -> Self:
        """Start to listen, in a thread."""
        server = self._loop.run_until_complete(asyncio.start_server(self._relay, ADDRESS, 0, limit=_PIECE))
        self.port = server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Relay nothing more."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._one_way)  # the handshake of TCP, which the kernel has answered already
        server_reader, server_writer = await asyncio.open_connection(ADDRESS, self._to, limit=_PIECE)
        await asyncio.gather(self._carry(reader, server_writer), self._carry(server_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, in its order and each piece after the same time; at the end, close."""

        def later(deliver: Callable[[], object]) -> None:
            self._loop.call_at(self._loop.time() + self._one_way, deliver)

        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                later(partial(writer.write, piece))
        later(writer.close)

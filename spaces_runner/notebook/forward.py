"""Passes connections on to a port of this machine. Knows bytes, no protocol."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536
LAST_S = 0.05  # for whom asyncio just let in: a server that is closed sooner would forget, and never hang up on them


class Forward:
    """Listens in a thread of its own from `start` to `close`. `port`: where it leads; while it is None it hangs up."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int | None = None
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_done())

    async def _until_done(self) -> None:
        server = await asyncio.start_server(self._visit, sock=self._listener)
        await self._done.wait()
        self._loop.remove_reader(self._listener)  # nobody is let in any more
        await asyncio.sleep(LAST_S)
        server.close()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.port is None:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_carry(reader, back))
                    both.create_task(_carry(there, writer))
            finally:
                back.close()
        except* OSError:  # either side has gone: that is how connections end
            pass
        finally:
            writer.close()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError, as where another program listens there."""
    return socket.create_server((host, port), backlog=512)


@contextmanager
def forwarding(listener: socket.socket) -> Iterator[Forward]:
    """A forward for who comes to `listener`, closed with it at the end."""
    forward = Forward(listener)
    forward.start()
    try:
        yield forward
    finally:
        forward.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side is through; then the other one is told so."""
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()

"""Bytes of Server-Sent Events → the data of each. Pure.

By the bytes of line ends alone: libraries that split text find line ends inside of JSON (U+2028, U+0085), too.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which no engine uses more than this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

MAX_EVENT = 8 * 2**20  # bytes


async def data_of(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The data of each event that has some. Raises ValueError for a line without end, or one that is not UTF-8."""
    pending = b""
    async for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_EVENT:
            raise ValueError(f"an event of more than {MAX_EVENT} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip().decode()

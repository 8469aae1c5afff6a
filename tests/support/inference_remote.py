"""What is asked of engines elsewhere in tests, and a server whose answers are written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.inference.types import Delta, Event, GenerateRequest, Prompt, SamplingParams

PROTOCOLS = ("openai", "tgi")
PNG = b"\x89PNG and more"


def ask(prompt: Prompt | None = None, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(
        id="r1",
        client="someone",
        model="far",
        prompt=prompt or Prompt(text="Hi"),
        sampling=SamplingParams(**{"max_tokens": 20, "temperature": 0.5, "seed": 4, **sampling}),
    )


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@dataclass(slots=True)
class Canned:
    """A server that answers everything with the same bytes and keeps what it was sent."""

    answer: bytes
    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length")
        )
        self.heads.append(head)
        self.bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(canned: Canned) -> AsyncIterator[str]:
    server = await asyncio.start_server(canned.serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

"""The first page that a process shows takes it a second or two longer than the next: so it is shown at the start.

Knows addresses of the owner's page, nothing of what is on it. Nothing is started by it, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
from starlette.types import ASGIApp

PAGES = ("/studio/", "/studio/config", "/", "/config")
EVENT = "/studio/gradio_api/call/spaces"  # a look at what runs
DEADLINE_S = 15.0


async def up(app: ASGIApp, token: str) -> None:
    """Have `app` show its pages and answer an event, without a socket. What goes wrong is found by the first person."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {token}"}
    with suppress(TimeoutError, httpx.HTTPError, ValueError, KeyError):
        async with (
            asyncio.timeout(DEADLINE_S),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client,
        ):
            for page in PAGES:
                await client.get(page)
            event = (await client.post(EVENT, json={"data": []})).json()
            await client.get(f"{EVENT}/{event['event_id']}")

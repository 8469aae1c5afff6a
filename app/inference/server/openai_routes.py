"""The routes of the OpenAI protocol that generate: /v1/chat/completions and /v1/completions."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.inference import prompts
from app.inference.server import bodies
from app.inference.server.answers import Answer
from app.inference.server.core import BEARER, Core
from app.inference.server.openai_answers import OpenAIStyle
from app.inference.server.openai_bodies import ChatRequest, CompletionRequest, Generation
from app.inference.server.openapi import takes
from app.inference.types import ModelCard, Prompt


def routes(core: Core) -> APIRouter:
    router = APIRouter(tags=["OpenAI"], dependencies=[Depends(BEARER)])

    @router.post("/v1/chat/completions", openapi_extra=takes(ChatRequest))
    async def chat(request: Request) -> Response:
        """Answer a conversation, as one object or, with `stream`, as it is written."""
        client = core.client(request)
        body = await bodies.read(request, ChatRequest, core.bounds.body_bytes)
        return _answer(core, client, body, lambda card: prompts.render(card.prompt, body.conversation()), chat=True)

    @router.post("/v1/completions", openapi_extra=takes(CompletionRequest))
    async def complete(request: Request) -> Response:
        """Go on from a text, which reaches the model as it is."""
        client = core.client(request)
        body = await bodies.read(request, CompletionRequest, core.bounds.body_bytes)
        return _answer(core, client, body, lambda card: body.raw(images=prompts.reads_images(card.prompt)), chat=False)

    return router


def _answer(core: Core, client: str, body: Generation, prompt: Callable[[ModelCard], Prompt], *, chat: bool) -> Answer:
    card = core.card(body.model)
    body.check()
    sampling = body.sampling(card)
    style = OpenAIStyle(
        id=f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        model=card.name,
        chat=chat,
        demo=card.demo,
        usage_wanted=body.usage_wanted,
        ignored=body.ignored,
    )
    source = core.begin(client, card, prompt(card), sampling)
    return Answer(source, style, core.metrics.meter(card.name, "openai"), stream=bool(body.stream))

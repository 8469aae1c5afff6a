"""What models there are and what they take up; loading, sleeping, unloading; tokens of a text."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from app.inference import prompts
from app.inference.server import bodies
from app.inference.server.core import BEARER, Core
from app.inference.server.openapi import takes
from app.inference.server.streams import attended
from app.inference.types import ModelCard, ModelStatus, Residency, SamplingParams

Json = dict[str, Any]


class TokenizeRequest(bodies.Body):
    """As vLLM has it."""

    model: str = Field(min_length=1, max_length=200)
    prompt: str


def routes(core: Core) -> APIRouter:
    router = APIRouter(dependencies=[Depends(BEARER)])

    @router.get("/v1/models", tags=["OpenAI"])
    async def models(request: Request) -> Json:
        """Every model on offer, and what it takes up now."""
        core.caller(request)
        return {"object": "list", "data": [_described(status, core.begun) for status in core.service.status()]}

    @router.get("/v1/models/{name}", tags=["OpenAI"])
    async def model(request: Request, name: str) -> Json:
        """One of them."""
        core.caller(request)
        return _described(core.status(name), core.begun)

    @router.post("/tokenize", tags=["models"], openapi_extra=takes(TokenizeRequest))
    async def tokenize(request: Request) -> Json:
        """The tokens of a text, as the model's tokenizer has them."""
        core.caller(request)
        body = await bodies.read(request, TokenizeRequest, core.bounds.body_bytes)
        card = core.card(body.model)
        ids = await attended(request.receive, core.service.count_tokens(card.name, body.prompt))
        return {"count": len(ids), "max_model_len": core.status(card.name).context, "tokens": ids}

    return router


def management(core: Core) -> APIRouter:
    router = APIRouter(tags=["models"], dependencies=[Depends(BEARER)])
    work = {"load": core.service.load, "sleep": core.service.sleep, "unload": core.service.unload}

    async def manage(request: Request, name: str) -> Response:
        core.manager(request)
        core.card(name)
        await work[request.url.path.rpartition("/")[2]](name)
        return JSONResponse(_described(core.status(name), core.begun))

    for verb, what in (
        ("load", "Make a model resident; answers when it is."),
        ("sleep", "Move an idle model's weights to host memory."),
        ("unload", "Let a model go."),
    ):
        path = f"/v1/models/{{name}}/{verb}"
        router.add_api_route(path, manage, methods=["POST"], name=verb, description=what)
    return router


def _described(status: ModelStatus, created: int) -> Json:
    """What OpenAI's clients read of a model (id, object, created, owned_by), and what we add."""
    card = status.card
    return {
        "id": card.name,
        "object": "model",
        "created": created,
        "owned_by": _owner(card),
        "title": card.title,
        "family": card.family.value,
        "base": None if card.remote else _named(card.weights),
        "adapter": _named(card.adapter) if card.adapter and not card.remote else None,
        "precision": card.precision.value,
        "prompt": card.prompt,
        "images": prompts.reads_images(card.prompt),
        "context": status.context,
        "defaults": _defaults(card.defaults),
        "demo": card.demo,
        "tgi": f"/tgi/{card.name}",
        "residency": status.residency.value,
        "device": status.device,
        "promised_bytes": status.promised_bytes,
        "weight_bytes": status.weight_bytes,
        "kv_bytes": status.kv_bytes,
        "kv_tokens": status.kv_tokens,
        "kv_tokens_used": status.kv_tokens_used,
        "running": status.running,
        "waiting": status.waiting,
        "loading": status.fraction if status.residency is Residency.LOADING else None,
        "error": status.error or None,
    }


def _defaults(sampling: SamplingParams) -> Json:
    """What holds where a request of the OpenAI protocol says nothing, in its words."""
    return {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
    }


def _owner(card: ModelCard) -> str:
    """Of a repository its first half. Directories stay our own affair."""
    if card.remote is not None:
        return "remote"
    if card.demo:
        return "demo"
    return card.weights.partition("/")[0] if _is_repository(card.weights) else "local"


def _named(place: str) -> str:
    """A repository's name; a directory's own, without where it lies."""
    return place if _is_repository(place) else PurePath(place).name


def _is_repository(place: str) -> bool:
    owner, slash, name = place.partition("/")
    return bool(slash and owner.strip(".~") and "/" not in name)

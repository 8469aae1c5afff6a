"""The routes of text-generation-inference, for each model under /tgi/{model}: that is a client's base address."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from app.inference import prompts
from app.inference.errors import UnknownAdapter
from app.inference.server import bodies
from app.inference.server.answers import Answer
from app.inference.server.core import BEARER, Core
from app.inference.server.openapi import takes
from app.inference.server.tgi_answers import TgiStyle
from app.inference.server.tgi_bodies import CompatRequest, TgiRequest
from app.inference.types import MAX_STOPS, ModelCard, ModelStatus, Residency

Json = dict[str, Any]


def routes(core: Core) -> APIRouter:
    router = APIRouter(prefix="/tgi/{model}", tags=["TGI"], dependencies=[Depends(BEARER)])

    @router.post("", openapi_extra=takes(CompatRequest))
    @router.post("/", openapi_extra=takes(CompatRequest), include_in_schema=False)
    async def compat(request: Request, model: str) -> Response:
        """Go on from `inputs`: a list of one, or a stream where `stream` is true."""
        return await _answer(core, request, model, CompatRequest)

    @router.post("/generate", openapi_extra=takes(TgiRequest))
    async def generate(request: Request, model: str) -> Response:
        """Go on from `inputs`, as one object."""
        return await _answer(core, request, model, TgiRequest)

    @router.post("/generate_stream", openapi_extra=takes(TgiRequest))
    async def generate_stream(request: Request, model: str) -> Response:
        """Go on from `inputs`, one event for each token."""
        return await _answer(core, request, model, TgiRequest, stream=True)

    @router.get("/info")
    async def info(request: Request, model: str) -> Json:
        """What the model is and takes."""
        core.caller(request)
        return _info(core.status(model), core.bounds.requests)

    return router


def health(core: Core) -> APIRouter:
    """Open to everyone, as probes send no token."""
    router = APIRouter(tags=["TGI"])

    @router.get("/tgi/{model}/health")
    async def healthy(model: str) -> Response:
        """Empty, with 200, or 503 where the model failed to load."""
        if core.status(model).residency is not Residency.FAILED:
            return Response()
        return JSONResponse({"error": "unhealthy", "error_type": "healthcheck"}, 503)

    return router


async def _answer(
    core: Core, request: Request, model: str, kind: type[TgiRequest], *, stream: bool = False
) -> Response:
    client = core.client(request)
    body = await bodies.read(request, kind, core.bounds.body_bytes)
    wishes = body.wishes
    card = _adapted(core, core.card(model), wishes.adapter_id)
    wishes.check()
    sampling = wishes.sampling()
    style = TgiStyle(
        inputs=body.inputs,
        device=core.status(card.name).device,
        demo=card.demo,
        context=lambda: core.status(card.name).context,
        max_tokens=sampling.max_tokens,
        details=bool(wishes.details),
        full_text=bool(wishes.return_full_text),
        listed=isinstance(body, CompatRequest),
    )
    prompt = body.prompt(images=prompts.reads_images(card.prompt))
    source = core.begin(client, card, prompt, sampling, wishes.truncate)
    stream = stream or (isinstance(body, CompatRequest) and bool(body.stream))
    return Answer(source, style, core.metrics.meter(card.name, "tgi"), stream=stream)


def _adapted(core: Core, card: ModelCard, adapter: str | None) -> ModelCard:
    """The model over the same base that goes by the adapter's name. Raises UnknownAdapter.

    A model that is served elsewhere has no base here that another could share.
    """
    if adapter is None:
        return card
    here = [other for other in core.service.cards() if other.remote is None]
    others = {card.name: card} if card.remote else {other.name: other for other in here if other.base == card.base}
    if adapter not in others:
        raise UnknownAdapter(adapter, others)
    return others[adapter]


def _info(status: ModelStatus, requests: int) -> Json:
    card = status.card
    return {
        "model_id": card.name,
        "model_sha": card.revision,
        "model_pipeline_tag": "image-text-to-text" if prompts.reads_images(card.prompt) else "text-generation",
        "max_concurrent_requests": requests,
        "max_best_of": 1,
        "max_stop_sequences": MAX_STOPS,
        "max_input_tokens": status.context - 1,
        "max_total_tokens": status.context,
        "validation_workers": 1,
        "max_client_batch_size": 1,
        "router": "spaces-runner",
        "version": version("spaces-runner"),
        "sha": None,
        "docker_label": None,
        "demo": card.demo,
    }

"""Gives a Space a model of the core: its address in a variable, and a token of the Space's own in a secret.

The address is that of the TGI protocol, for `text_generation.Client` and `huggingface_hub.InferenceClient`. The names
are those that the Guanaco Playground reads: API_URL and API_TOKEN. HF_TOKEN is left alone although that Space reads it,
too: with it in the environment, huggingface_hub would send the core's token to the Hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from spaces_runner.core.service import CoreStatus
from spaces_runner.errors import BadOption, CoreFailed

URL_VARIABLE, TOKEN_VARIABLE = "API_URL", "API_TOKEN"
ANSWER_S = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    model: str
    variable: str  # what the Space reads the address from


def parse(text: str) -> Link:
    """ "NAME" or "NAME=VARIABLE". Raises BadOption."""
    model, equals, variable = text.partition("=")
    if not _NAME.fullmatch(model) or (equals and not _VARIABLE.fullmatch(variable)):
        raise BadOption(
            f"{text[:80]!r} names no model of the core.",
            hint="Give a model's name, and after = the variable that the Space reads: guanaco-7b=API_URL.",
        )
    return Link(model=model, variable=variable or URL_VARIABLE)


def address(link: Link, core: CoreStatus) -> str:
    """Where the Space reaches the model. Raises BadOption for one that the core has not, CoreFailed."""
    known = models(core)
    if link.model not in known:
        raise BadOption(f"The core has no model {link.model!r}. It has: {', '.join(known)}.", hint="Take one of these.")
    return f"{core.url}/tgi/{link.model}"


def models(core: CoreStatus) -> tuple[str, ...]:
    """The names of the core's models. Raises CoreFailed."""
    try:
        answer = httpx.get(f"{core.url}/v1/models", headers=_bearer(core), timeout=ANSWER_S, trust_env=False)
        answer.raise_for_status()
        return tuple(str(model["id"]) for model in answer.json()["data"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise CoreFailed(
            f"The core does not say which models it has: {error}", hint="See spaces-runner core logs."
        ) from error


def _bearer(core: CoreStatus) -> dict[str, str]:
    return {"Authorization": f"Bearer {core.token}"}

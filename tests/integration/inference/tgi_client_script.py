"""Run by the interpreter of an environment with text-generation 0.7.0: what its client makes of an address.

Arguments: the address, a token. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from text_generation import AsyncClient, Client  # type: ignore[import-not-found]  # only its environment has it
from text_generation.errors import (  # type: ignore[import-not-found]  # likewise
    GenerationError,
    NotFoundError,
    OverloadedError,
    ValidationError,
)

address, token = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}


def client(name: str) -> Any:
    return Client(f"{address}/tgi/{name}", headers=headers, timeout=2)


def error_of(call: Callable[[], object], kind: type[Exception]) -> str:
    try:
        call()
    except kind as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def whole() -> list[Any]:
    done = client("guanaco").generate("Hi", max_new_tokens=7, do_sample=True, temperature=0.5, seed=3)
    details = done.details
    return [
        done.generated_text,
        details.finish_reason.value,
        details.generated_tokens,
        [t.text for t in details.tokens],
    ]


def stream(name: str = "guanaco") -> list[Any]:
    told = list(client(name).generate_stream("Hi", max_new_tokens=7))
    last = told[-1]
    shown = "".join(one.token.text for one in told if not one.token.special)
    return [shown, last.generated_text, last.details.finish_reason.value, last.details.generated_tokens]


async def asynchronous() -> list[str]:
    one = AsyncClient(f"{address}/tgi/guanaco", headers=headers, timeout=5)
    done = await one.generate("Hi")
    told = [event async for event in one.generate_stream("Hi")]
    return [done.generated_text, told[-1].generated_text]


print(
    json.dumps(
        {
            "whole": whole(),
            "stream": stream(),
            "async": asyncio.run(asynchronous()),
            "slow": stream("slow"),
            "demo": [client("demo").generate("Hi").generated_text, *stream("demo")],
            "long": error_of(lambda: client("long").generate("Hi"), ValidationError),
            "long stream": error_of(lambda: list(client("long").generate_stream("Hi")), ValidationError),
            "full": error_of(lambda: client("full").generate("Hi"), OverloadedError),
            "failing": error_of(lambda: client("failing").generate("Hi"), GenerationError),
            "breaking": error_of(lambda: list(client("breaking").generate_stream("Hi")), GenerationError),
            "nobody": error_of(lambda: client("nobody").generate("Hi"), NotFoundError),
            "refused": error_of(lambda: client("guanaco").generate("Hi", best_of=2, do_sample=True), ValidationError),
        }
    )
)

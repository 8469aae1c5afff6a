"""`python -m bench.web_core`: a core that follows a script, for benchmarks of the page. Stands for a GPU's.

It speaks the core's own protocols, by the core's own server. Each answer has tokens at an even pace, and each token
says when it was made: a mark such as `@12345.6789 `, of the clock that all processes of a machine share.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from app.inference import catalog
from app.inference.catalog import Preset
from app.inference.server import OneKey, Server, bind, create_app, url
from app.inference.types import GenerateRequest
from tests.support.inference_server import ScriptedService, Step, delta, finished

TOKEN = "token-of-the-scripted-core"


def mark() -> str:
    return f"@{time.monotonic():.4f} "


def script(rate: float, tokens: int) -> Iterator[Step]:
    """`rate` tokens a second; one that is late does not delay the next ones."""
    begun = time.monotonic()
    for number in range(1, tokens + 1):
        yield max(0.0, begun + number / rate - time.monotonic())
        yield delta(mark())
    yield finished(tokens)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    wanted = parser.parse_args()

    def answer(_: GenerateRequest) -> Iterator[Step]:
        return script(wanted.rate, wanted.tokens)

    def ready() -> None:
        sys.stdout.write(f"{url(listener)}\n")
        sys.stdout.flush()

    listener = bind("127.0.0.1", 0)
    service = ScriptedService(script=answer, offered=catalog.read(Preset.DEMO))
    Server(create_app(service, OneKey(TOKEN)), on_started=ready).run(sockets=[listener])


if __name__ == "__main__":
    main()

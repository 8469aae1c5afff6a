"""A conversation with the core over its OpenAI protocol, in Python's standard library alone.

Runs in the kernel, whose Python may be 3.8. The openai package works as well: `OpenAI(base_url=core.url + "/v1", …)`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spaces_runner.notebook.helper import Failed

ANSWER_S = 300.0  # until the first word: a model that sleeps is loaded first
# The core is on this machine: no proxy leads there.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Core:
    """The core at `url`. The token opens it with every right, so it is not part of what is printed."""

    def __init__(self, url: str, token: str, preset: str) -> None:
        self.url, self.preset = url, preset
        self._token = token

    def __repr__(self) -> str:
        return f"<Core {self.url} preset {self.preset}>"

    def models(self) -> list[str]:
        """The names of the models on offer. Raises Failed."""
        with self._open("/v1/models", None) as answer:
            return [str(model["id"]) for model in json.load(answer)["data"]]

    def stream(self, model: str, messages: Sequence[Mapping[str, str]], **options: Any) -> Iterator[str]:
        """The answer's text in pieces, as it is written. `options` are those of OpenAI's API. Raises Failed."""
        body = {"model": model, "messages": list(messages), "stream": True, **options}
        with self._open("/v1/chat/completions", body) as answer:
            for line in answer:
                data = line.decode("utf-8").partition("data: ")[2].strip()
                if data and data != "[DONE]":
                    yield from _pieces(json.loads(data))

    def chat(self, model: str) -> Chat:
        """A new conversation with `model`."""
        return Chat(self, model)

    def _open(self, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            return _OPENER.open(urllib.request.Request(self.url + path, data, headers), timeout=ANSWER_S)
        except urllib.error.HTTPError as error:
            with error:
                raise Failed(f"The core refused: {error.read().decode('utf-8', 'replace')}") from None
        except OSError as error:
            raise Failed(f"The core does not answer at {self.url}: {error}\nhint: Run the cell above again.") from None


class Chat:
    """A conversation: each `ask` goes on from the last. `messages` may be read and changed."""

    def __init__(self, core: Core, model: str) -> None:
        self.core, self.model = core, model
        self.messages: list[dict[str, str]] = []

    def ask(self, text: str, **options: Any) -> Iterator[str]:
        """The answer in pieces. What was written is remembered, also where it was broken off. Raises Failed."""
        said = [*self.messages, {"role": "user", "content": text}]
        written: list[str] = []
        try:
            for piece in self.core.stream(self.model, said, **options):
                written.append(piece)
                yield piece
        finally:
            if written:
                self.messages = [*said, {"role": "assistant", "content": "".join(written)}]


def _pieces(event: Mapping[str, Any]) -> Iterator[str]:
    if "error" in event:
        raise Failed(f"The core broke the answer off: {event['error'].get('message', event['error'])}")
    for choice in event["choices"]:
        if choice["delta"].get("content"):
            yield str(choice["delta"]["content"])

"""The ways to serve a model that `scripts/bench core` compares: the same requests, the same weights, token by token.

Clients are closed loops: each sends its next request when its last one is answered. No side stops at an end token, all
compute on the same threads, and ours makes text of its tokens besides, which transformers' sides are spared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.generation.streamers import BaseStreamer

from app.inference.engine import Engine, EngineEvent
from app.inference.engine import Sequence as EngineSequence
from app.inference.types import Delta, Finished, SamplingParams

TURNS = 2  # requests of each client


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: a prompt, how many tokens to go on for, and by which adapter."""

    prompt: tuple[int, ...]
    tokens: int
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one side did: its tokens, how long that took, and how long each request waited for its first token."""

    tokens: int
    seconds: float
    processor: float = 0.0  # seconds of the processor, which a busy machine does not change
    first: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def processor_rate(self) -> float:
        return self.tokens / self.processor

    @property
    def wait(self) -> float:
        return median(self.first)


class _Watch:
    """Runs from the beginning of a side to `outcome`."""

    def __init__(self) -> None:
        self._begun, self._processor = time.perf_counter(), time.process_time()

    def outcome(self, asks: Sequence[Ask], first: Sequence[float] = ()) -> Outcome:
        seconds, processor = time.perf_counter() - self._begun, time.process_time() - self._processor
        return Outcome(sum(ask.tokens for ask in asks), seconds, processor, tuple(first))


def workload(requests: int, vocabulary: int, seed: int = 0) -> list[Ask]:
    """Prompts of 32 to 160 tokens, answers of 24 to 96."""
    chance = random.Random(seed)
    return [
        Ask(tuple(chance.randrange(3, vocabulary) for _ in range(chance.randint(32, 160))), chance.randint(24, 96))
        for _ in range(requests)
    ]


def word_tokenizer(vocabulary: int) -> Any:
    """A word for each id: what is measured is the model, yet text is made as it is for people."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f" w{number}": number for number in range(3, vocabulary)}
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), eos_token="</s>")


class _Printer(BaseStreamer):
    """Takes tokens as they come, as the streamers of Spaces do."""

    def put(self, value: torch.Tensor) -> None:
        value.tolist()

    def end(self) -> None:
        return


def sequential(model: Any, asks: Sequence[Ask], **options: Any) -> Outcome:
    """One `generate` after the other, with a streamer: what the original Spaces do."""
    watch = _Watch()
    for ask in asks:
        ids = torch.tensor([ask.prompt], device=model.device)
        _generate(model, ids, torch.ones_like(ids), ask.tokens, streamer=_Printer(), **options)
    return watch.outcome(asks)


def static(model: Any, asks: Sequence[Ask], clients: int) -> Outcome:
    """One padded `generate` for as many requests as there are clients; each batch runs to its longest answer."""
    watch = _Watch()
    for first in range(0, len(asks), clients):
        batch = asks[first : first + clients]
        longest = max(len(ask.prompt) for ask in batch)
        ids = torch.tensor([[0] * (longest - len(ask.prompt)) + list(ask.prompt) for ask in batch], device=model.device)
        mask = torch.tensor(
            [[0] * (longest - len(ask.prompt)) + [1] * len(ask.prompt) for ask in batch], device=model.device
        )
        _generate(model, ids, mask, max(ask.tokens for ask in batch))
    return watch.outcome(asks)


def _generate(model: Any, ids: torch.Tensor, mask: torch.Tensor, tokens: int, **options: Any) -> Any:
    return model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **options,
    )


def continuous(model: Any, asks: Sequence[Ask], clients: int, settings: Any) -> Outcome:
    """transformers' own continuous batching, streamed. `settings`: its ContinuousBatchingConfig."""
    config: Any = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=1)
    with model.continuous_batching_context_manager(
        generation_config=config, continuous_batching_config=settings
    ) as manager:
        lines = [list(asks[client::clients]) for client in range(clients)]
        sent: dict[str, tuple[int, float]] = {}
        first: dict[str, float] = {}
        names = count()

        def send(client: int) -> None:
            ask, name = lines[client].pop(0), str(next(names))
            sent[name] = (client, time.perf_counter())
            manager.add_request(list(ask.prompt), request_id=name, max_new_tokens=ask.tokens, streaming=True)

        watch, left = _Watch(), len(asks)
        for client in range(clients):
            send(client)
        while left:
            output = manager.get_result(timeout=60)
            if output is None or output.error:
                raise RuntimeError(f"transformers' continuous batching: {output and output.error}")
            client, when = sent[output.request_id]
            if output.generated_tokens:
                first.setdefault(output.request_id, time.perf_counter() - when)
            if output.is_finished():
                left -= 1
                if lines[client]:
                    send(client)
        return watch.outcome(asks, tuple(first.values()))


class _Visitor:
    """One client of our engine."""

    def __init__(self, engine: Engine, name: str, asks: Sequence[Ask], first: list[float]) -> None:
        self._engine = engine
        self._name = name
        self._asks = list(asks)
        self._first = first
        self._waiting = True
        self._sent = 0.0
        self.answers: list[list[int]] = []

    def send(self) -> None:
        ask = self._asks.pop(0)
        self._waiting, self._sent = True, time.perf_counter()
        self.answers.append([])
        sequence = EngineSequence(
            id=f"{self._name}-{len(self._asks)}",
            client=self._name,
            adapter=ask.adapter,
            prompt_ids=ask.prompt,
            sampling=SamplingParams(max_tokens=ask.tokens, temperature=0, ignore_eos=True),
            sink=self._hear,
        )
        self._engine.submit(sequence)

    def _hear(self, event: EngineEvent) -> None:
        if isinstance(event, Delta):
            self.answers[-1] += [token.id for token in event.tokens]
            if self._waiting:
                self._waiting = False
                self._first.append(time.perf_counter() - self._sent)
        elif isinstance(event, Finished) and self._asks:
            self.send()


def ours(engine: Engine, asks: Sequence[Ask], clients: int) -> Outcome:
    """Our engine."""
    first: list[float] = []
    visitors = [_Visitor(engine, str(client), asks[client::clients], first) for client in range(clients)]
    watch = _Watch()
    for visitor in visitors:
        visitor.send()
    while engine.step():
        pass
    if len(first) != len(asks):
        raise RuntimeError(f"{len(asks) - len(first)} requests were not answered")
    return watch.outcome(asks, first)


def chat(engine: Engine, users: int, vocabulary: int, turns: int = 4) -> float:
    """Seconds to the first token of the last turn, median of users who all speak at once."""
    chance = random.Random(3)
    opening = [chance.randrange(3, vocabulary) for _ in range(60)]
    chats = [list(opening) for _ in range(users)]
    first: list[float] = []
    for _ in range(turns):
        first.clear()
        visitors = []
        for user, said in enumerate(chats):
            said.extend(chance.randrange(3, vocabulary) for _ in range(40))
            visitors.append(_Visitor(engine, str(user), [Ask(tuple(said), 48)], first))
        for visitor in visitors:
            visitor.send()
        while engine.step():
            pass
        for said, visitor in zip(chats, visitors, strict=True):
            said.extend(visitor.answers[0])
    return median(first)

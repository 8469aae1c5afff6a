"""`scripts/bench core`: our engine against the ways transformers serves a model, in one run.

The sides of a pair run right after each other on the same machine; what counts is the median of their ratios, by the
clock. Where the machine does other things meanwhile, the ratio by processor time beside it is the truer one.

On the CPU: a LLaMA of 30 M parameters in fp32 on one thread. With CUDA, `bench.core_cuda` measures 7 B models besides.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, LlamaConfig, LlamaForCausalLM

from app.inference.engine import Engine, Limits
from app.inference.loaded import Adapter, LoadedModel, LoraLayer
from app.inference.types import Family, Precision
from bench import core_cuda
from bench.core_sides import TURNS, Outcome, chat, continuous, ours, sequential, static, word_tokenizer, workload
from bench.results import Row, publish

PAIRS = 5  # of which the medians are
VOCABULARY = 8192
ALONE = 8  # requests by which the sequential side is measured: it serves one at a time, however many wait. The first 8
# are like all 64: prompts of 82 tokens on average against 93, answers of 63 against 61.
BARS = {1: ">= 1", 8: ">= 3", 32: ">= 4.5"}
CONTINUOUS: dict[str, Any] = {"page_size": 32, "num_blocks": 512}  # room for 32 clients
BATCHES = (512, 256)  # max_batch_tokens that transformers' continuous batching is tried with


@dataclass(frozen=True, slots=True)
class Bench:
    theirs: Any  # the model, for transformers
    tokenizer: Any
    pairs: int


def main() -> int:
    """Measure and publish. `--only` takes letters of the parts, `--pairs` fewer pairs: neither is published."""
    parts: dict[str, Callable[[Bench], list[Row]]] = {"a": throughput, "b": waiting, "c": adapters, "d": turns}
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--only", default="".join(parts))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    bench = Bench(model(), word_tokenizer(VOCABULARY), wanted.pairs)
    rows: list[Row] = []
    for letter, part in parts.items():
        if letter in wanted.only:
            sys.stderr.write(f"({letter}) {(part.__doc__ or '').splitlines()[0]}\n")
            found = part(bench)
            sys.stderr.write("".join(f"    {row.name}: {row.value:g} {row.unit} {row.bar}\n" for row in found))
            rows += found
    if wanted.pairs < PAIRS or not set(wanted.only) >= set(parts):
        return 0
    missed = core_cuda.main(wanted.pairs) if torch.cuda.is_available() else 0
    return publish("core", rows) or missed


def model() -> Any:
    """LLaMA of 8 layers of 512, 8 heads: 30 M parameters, always the same ones."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=1376,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    made: Any = LlamaForCausalLM(config)
    return made.eval()


def engine(bench: Bench, clients: int, *, names: tuple[str, ...] = (), reuse: bool = False) -> Engine:
    """Ours, over the same weights. Without reuse: the pairs ask the same again and again."""
    served = model()
    loaded = LoadedModel(
        family=Family.LLAMA,
        model=served,
        tokenizer=bench.tokenizer,
        adapters={name: adapter(served, name) for name in names},
        precision=Precision.FP32,
        dtype=torch.float32,
        device=torch.device("cpu"),
        context=1024,
        eos_ids=frozenset({2}),
        nbytes=sum(weight.nbytes for weight in served.parameters()),
    )
    return Engine(loaded, Limits(max_running=clients, kv_tokens=16384, reuse=reuse))


def adapter(served: Any, name: str) -> Adapter:
    """Rank 16 over the four linear layers of attention, as Alpaca-LoRA has it."""
    paths = [path for path, _ in served.named_modules() if path.endswith(("q_proj", "k_proj", "v_proj", "o_proj"))]
    layers = {
        path: LoraLayer(a=torch.randn(16, 512) * 0.05, b=torch.randn(512, 16) * 0.05, scaling=1) for path in paths
    }
    return Adapter(name=name, layers=layers)


def throughput(bench: Bench) -> list[Row]:
    """Tokens per second at 1, 8 and 32 clients, against one `generate` after the other."""
    rows = []
    for clients, bar in BARS.items():
        asks = workload(TURNS * clients, VOCABULARY)
        serving = engine(bench, clients)
        warm(bench, serving)
        pairs = [(sequential(bench.theirs, asks[:ALONE]), ours(serving, asks, clients)) for _ in range(bench.pairs)]
        beside = [static(bench.theirs, asks, clients)] if clients > 1 else []
        rows += [
            rate(f"(a) {clients} clients: generate, one after the other", [one for one, _ in pairs]),
            *(rate(f"(a) {clients} clients: generate, padded batches", [one]) for one in beside),
            rate(f"(a) {clients} clients: our engine", [one for _, one in pairs]),
            ratio(f"(a) {clients} clients: faster than one after the other", [b.rate / a.rate for a, b in pairs], bar),
            ratio(
                f"(a) {clients} clients: the same by processor time",
                [b.processor_rate / a.processor_rate for a, b in pairs],
            ),
        ]
    return rows


def warm(bench: Bench, serving: Engine) -> None:
    asks = [replace(ask, tokens=4) for ask in workload(2, VOCABULARY, seed=1)]
    sequential(bench.theirs, asks)
    ours(serving, asks, 1)


def waiting(bench: Bench) -> list[Row]:
    """Time to the first token at 32 clients, against transformers' continuous batching, as it is quicker."""
    clients = 32
    asks = workload(TURNS * clients, VOCABULARY)
    settings = [ContinuousBatchingConfig(**CONTINUOUS, max_batch_tokens=tokens) for tokens in BATCHES]
    best = min(settings, key=lambda one: continuous(bench.theirs, asks, clients, one).wait)
    serving = engine(bench, clients)
    pairs = []
    for _ in range(bench.pairs):
        theirs = continuous(bench.theirs, asks, clients, best)
        pairs.append((theirs, ours(serving, asks, clients)))
    return [
        rate("(b) 32 clients: transformers' continuous batching", [one for one, _ in pairs]),
        rate("(b) 32 clients: our engine", [one for _, one in pairs]),
        Row(name="(b) first token, transformers' continuous batching",
            value=round(median(one.wait for one, _ in pairs), 3), unit="s"),
        Row(name="(b) first token, our engine", value=round(median(one.wait for _, one in pairs), 3), unit="s"),
        ratio("(b) first token, ours over theirs", [b.wait / a.wait for a, b in pairs], "<= 0.5"),
    ]  # fmt: skip


def adapters(bench: Bench) -> list[Row]:
    """Two adapters mixed in one batch against one alone, at 8 clients."""
    clients = 8
    asks = workload(TURNS * clients, VOCABULARY)
    one, both = engine(bench, clients, names=("alpaca",)), engine(bench, clients, names=("alpaca", "guanaco"))
    alike = [replace(ask, adapter="alpaca") for ask in asks]
    mixed = [replace(ask, adapter=("alpaca", "guanaco")[number // clients % 2 ^ number % 2])
             for number, ask in enumerate(asks)]  # fmt: skip
    warm(bench, one)
    warm(bench, both)
    pairs = [(ours(one, alike, clients), ours(both, mixed, clients)) for _ in range(bench.pairs)]
    return [
        rate("(c) one adapter", [found for found, _ in pairs]),
        rate("(c) two adapters mixed", [found for _, found in pairs]),
        ratio("(c) time of two mixed over one", [b.seconds / a.seconds for a, b in pairs], "<= 1.15"),
    ]


def turns(bench: Bench) -> list[Row]:
    """The first token of a fourth turn, with and without going on from the third; six users at once."""
    users = 6
    pairs = []
    for _ in range(bench.pairs):
        anew = chat(engine(bench, users), users, VOCABULARY)
        pairs.append((anew, chat(engine(bench, users, reuse=True), users, VOCABULARY)))
    return [
        Row(name="(d) first token of a fourth turn, all computed anew",
            value=round(median(anew for anew, _ in pairs), 3), unit="s"),
        Row(name="(d) first token of a fourth turn", value=round(median(one for _, one in pairs), 3), unit="s"),
        ratio("(d) sooner for going on from the third", [anew / one for anew, one in pairs], ">= 5"),
    ]  # fmt: skip


def rate(name: str, outcomes: list[Outcome]) -> Row:
    return Row(name=name, value=round(median(one.rate for one in outcomes), 1), unit="tokens/s")


def ratio(name: str, ratios: list[float], bar: str = "") -> Row:
    return Row(name=name, value=round(median(ratios), 2), unit="times", bar=bar)


if __name__ == "__main__":
    raise SystemExit(main())

"""The part of `scripts/bench core` for a GPU: models in the real 7 B shapes with random weights.

**Never run on a GPU: none was at hand.** By itself: `python -m bench.core_cuda`. With `--rehearse`, the same steps run
over tiny models on the CPU, so that it is known that they run; the figures then mean nothing and are not published.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    ContinuousBatchingConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MptConfig,
    MptForCausalLM,
)

from app.inference.engine import Engine, Limits, kv_bytes_per_token
from app.inference.loaded import LoadedModel
from app.inference.pool.residency import park
from app.inference.types import Family, Precision
from app.inference.weights.precisions import quantisation
from bench.core_sides import TURNS, Ask, continuous, ours, sequential, static, word_tokenizer, workload
from bench.results import Row, publish, table

SHARE = ">= 0.6"  # of what memory bandwidth allows, in bf16 at one client


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large everything is."""

    device: torch.device = field(default_factory=lambda: torch.device("cuda", 0))
    name: str = ""
    vocabulary: int = 32000
    llama: dict[str, Any] = field(default_factory=dict)  # LlamaConfig's own sizes are those of 7 B
    mpt: dict[str, Any] = field(default_factory=lambda: {"d_model": 4096, "n_heads": 32, "n_layers": 32})
    vision: dict[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
            "image_size": 336, "patch_size": 14,
        }
    )  # fmt: skip
    prompt: int = 512
    answer: int = 256
    crowds: tuple[int, ...] = (32, 64)
    copied_bytes: int = 1 << 30
    blocks: int = 96  # of 256 tokens, for transformers' continuous batching


def rehearsal() -> Scale:
    """Tiny, on the CPU."""
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Scale(
        device=torch.device("cpu"),
        name="a rehearsal",
        vocabulary=512,
        llama=small,
        mpt={"d_model": 64, "n_heads": 4, "n_layers": 2},
        vision=small | {"image_size": 28, "patch_size": 14},
        prompt=20,
        answer=6,
        crowds=(2,),
        copied_bytes=1 << 20,
        blocks=8,
    )


def main(pairs: int = 5) -> int:
    """Measure on the GPU at hand and publish; 0 when every bar holds."""
    return publish("core_cuda", measured(Scale(name=torch.cuda.get_device_name()), pairs))


def measured(scale: Scale, pairs: int) -> list[Row]:
    bandwidth = copied(scale)
    rows = [Row(name=f"{scale.name}: copied", value=round(bandwidth / 1e9), unit="GB/s")]
    tokenizer = word_tokenizer(scale.vocabulary)
    for precision in (Precision.BF16, Precision.NF4, Precision.INT8):
        rows += one_client(scale, precision, tokenizer, bandwidth, pairs)
        emptied(scale)
    rows += crowd(scale, tokenizer, pairs)
    return rows


def copied(scale: Scale) -> float:
    """Bytes per second read and written by a copy, the best of ten."""
    source = torch.empty(scale.copied_bytes, dtype=torch.uint8, device=scale.device)
    goal = torch.empty_like(source)
    best = min(timed(scale, lambda: goal.copy_(source)) for _ in range(10))
    return 2 * source.nbytes / best


def timed(scale: Scale, do: Callable[[], object]) -> float:
    settled(scale)
    begun = time.perf_counter()
    do()
    settled(scale)
    return time.perf_counter() - begun


def settled(scale: Scale) -> None:
    if scale.device.type == "cuda":
        torch.cuda.synchronize(scale.device)


def emptied(scale: Scale) -> None:
    gc.collect()  # modules refer to each other
    if scale.device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def on_device(scale: Scale) -> Iterator[None]:
    """Weights are made on the GPU, in half precision."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with scale.device:
            yield
    finally:
        torch.set_default_dtype(before)


def llama(scale: Scale, precision: Precision = Precision.BF16) -> Any:
    """LLaMA 7B; quantised layers are made as a loader makes them, out of random weights."""
    with on_device(scale):
        made: Any = LlamaForCausalLM(LlamaConfig(vocab_size=scale.vocabulary, **scale.llama))
    if not precision.quantised:
        return made.eval()
    with TemporaryDirectory() as folder:  # quantised while they are read, as a loader does it
        made.save_pretrained(folder)
        del made
        emptied(scale)
        read: Any = LlamaForCausalLM
        return read.from_pretrained(
            folder,
            quantization_config=quantisation(precision, torch.bfloat16),
            device_map={"": scale.device},
            dtype=torch.bfloat16,
        ).eval()


def mpt(scale: Scale) -> Any:
    with on_device(scale):
        return MptForCausalLM(MptConfig(vocab_size=scale.vocabulary, **scale.mpt)).eval()


def llava(scale: Scale) -> Any:
    text = LlamaConfig(vocab_size=scale.vocabulary + 64, **scale.llama)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**scale.vision), text_config=text, image_token_index=scale.vocabulary
    )
    with on_device(scale):
        return LlavaForConditionalGeneration(config).eval()


def loaded(scale: Scale, family: Family, model: Any, tokenizer: Any, precision: Precision) -> LoadedModel:
    return LoadedModel(
        family=family,
        model=model,
        tokenizer=tokenizer,
        precision=precision,
        dtype=torch.bfloat16,
        device=scale.device,
        context=2048,
        eos_ids=frozenset({2}),
        nbytes=sum(weight.nbytes for weight in model.parameters()),
    )


def one_client(scale: Scale, precision: Precision, tokenizer: Any, bandwidth: float, pairs: int) -> list[Row]:
    """Decoding alone: against the bandwidth, and in bf16 against a compiled `generate` with a static cache."""
    model = llama(scale, precision)
    embeddings = model.get_input_embeddings().weight.nbytes  # one row of it is read
    weights = sum(weight.nbytes for weight in model.parameters()) - embeddings
    asks = [Ask(tuple(range(3, 3 + scale.prompt)), scale.answer)]
    theirs = []
    if precision is Precision.BF16:
        compiled = {"cache_implementation": "static"}  # generate compiles the decoding step itself
        sequential(model, asks, **compiled)
        theirs = [sequential(model, asks, **compiled).rate for _ in range(pairs)]
    served = loaded(scale, Family.LLAMA, model, tokenizer, precision)
    serving = Engine(served, Limits(max_running=1, kv_tokens=4096, page_tokens=128, reuse=False))
    ours(serving, asks, 1)
    found = [ours(serving, asks, 1) for _ in range(pairs)]
    decoding = median((one.tokens - 1) / (one.seconds - one.wait) for one in found)
    kv = kv_bytes_per_token(served) * (scale.prompt + scale.answer // 2)
    rows = [
        Row(name=f"1 client, {precision}: decoding", value=round(decoding, 1), unit="tokens/s"),
        Row(
            name=f"1 client, {precision}: of what the bandwidth allows",
            value=round(decoding * (weights + kv) / bandwidth, 2),
            unit="",
            bar=SHARE if precision is Precision.BF16 else "",
        ),
    ]
    if theirs:
        ratio = median(one.rate / other for one, other in zip(found, theirs, strict=True))
        rows.append(
            Row(name="1 client: faster than compiled generate", value=round(ratio, 2), unit="times", bar=">= 1")
        )
    if scale.device.type == "cpu" and precision.quantised:
        return rows  # there, what was read from a file lies in the file's own pages, which do not sleep
    return rows + wakes(scale, serving, served, pairs)


def wakes(scale: Scale, serving: Engine, served: LoadedModel, pairs: int) -> list[Row]:
    """Out of host memory, until the next request can come."""
    found, nbytes = [], 0
    for _ in range(pairs):
        serving.suspend()
        parked = park(served)
        nbytes = parked.nbytes

        def wake(parked: Any = parked) -> None:
            parked.restore()
            serving.resume()

        found.append(timed(scale, wake))
    what = f"{served.precision}: wake of {nbytes / 1e9:.1f} GB"
    return [Row(name=what, value=round(median(found), 3), unit="s")]


def crowd(scale: Scale, tokenizer: Any, pairs: int) -> list[Row]:
    """Many clients against static and transformers' continuous batching, with MPT and LLaVA resident beside."""
    small = Limits(kv_tokens=2048, page_tokens=128)
    beside = [
        Engine(loaded(scale, family, model, tokenizer, Precision.BF16), small)
        for family, model in ((Family.MPT, mpt(scale)), (Family.LLAVA, llava(scale)))
    ]
    for other in beside:
        ours(other, [Ask((5, 6, 7), 8)], 1)
    theirs = llama(scale)
    limits = Limits(kv_tokens=16384, page_tokens=128, reuse=False)  # as many at once as where it serves
    serving = Engine(loaded(scale, Family.LLAMA, llama(scale), tokenizer, Precision.BF16), limits)
    settings: dict[str, Any] = {"page_size": 256, "num_blocks": scale.blocks, "max_batch_tokens": 2048}
    rows = []
    for clients in scale.crowds:
        asks = workload(TURNS * clients, scale.vocabulary)
        padded = static(theirs, asks, clients)
        ours(serving, asks, clients)  # its shapes are recorded
        sides = [
            (continuous(theirs, asks, clients, ContinuousBatchingConfig(**settings)), ours(serving, asks, clients))
            for _ in range(pairs)
        ]
        ratio = round(median(one.rate / side.rate for side, one in sides), 2)
        rows += [
            Row(name=f"{clients} clients: generate, padded batches", value=round(padded.rate, 1), unit="tokens/s"),
            Row(name=f"{clients} clients: our engine", value=round(median(one.rate for _, one in sides), 1),
                unit="tokens/s"),
            Row(name=f"{clients} clients: faster than transformers' continuous batching", value=ratio, unit="times",
                bar=">= 1"),
        ]  # fmt: skip
    return rows


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--rehearse", action="store_true", help="tiny, on the CPU: figures without a meaning")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if not asked.parse_args().rehearse:
        raise SystemExit(main())
    sys.stdout.write(table(measured(rehearsal(), pairs=1)) + "\n")

"""The part of `scripts/bench core` for a GPU: models in the real 7 B shapes with random weights.

**Never run: no GPU was at hand.** Run by itself: `python -m bench.core_cuda`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    BitsAndBytesConfig,
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
from app.inference.types import Family, Precision
from bench.core_sides import TURNS, Ask, continuous, ours, sequential, word_tokenizer, workload
from bench.results import Row, publish

VOCABULARY = 32000
CUDA = torch.device("cuda")
SHARE = ">= 0.6"  # of what memory bandwidth allows, in bf16 at one client
PROMPT, ANSWER = 512, 256


def main(pairs: int = 5) -> int:
    """Measure on the GPU at hand and publish; 0 when every bar holds."""
    bandwidth = copied()
    rows = [Row(name=f"{torch.cuda.get_device_name()}: copied", value=round(bandwidth / 1e9), unit="GB/s")]
    tokenizer = word_tokenizer(VOCABULARY)
    for precision in (Precision.BF16, Precision.NF4, Precision.INT8):
        rows += one_client(precision, tokenizer, bandwidth, pairs)
        torch.cuda.empty_cache()
    rows += crowd(tokenizer, pairs)
    return publish("core_cuda", rows)


def copied() -> float:
    """Bytes per second read and written by a copy, the best of ten."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device=CUDA)
    goal = torch.empty_like(source)
    best = min(timed(lambda: goal.copy_(source)) for _ in range(10))
    return 2 * source.nbytes / best


def timed(do: Any) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    do()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


@contextmanager
def on_device() -> Iterator[None]:
    """Weights are made on the GPU, in half precision."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with CUDA:
            yield
    finally:
        torch.set_default_dtype(before)


def llama(precision: Precision = Precision.BF16) -> Any:
    """LLaMA 7B; quantised layers are made as a loader makes them, out of random weights."""
    with on_device():
        model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY)).eval()
    if not precision.quantised:
        return model
    options: dict[str, Any] = (
        {"load_in_8bit": True}
        if precision is Precision.INT8
        else {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": torch.bfloat16,
        }
    )
    with TemporaryDirectory() as folder:  # quantised while they are read, as a loader does it
        model.save_pretrained(folder)
        del model
        torch.cuda.empty_cache()
        return LlamaForCausalLM.from_pretrained(
            folder, quantization_config=BitsAndBytesConfig(**options), device_map={"": 0}, dtype=torch.bfloat16
        )


def mpt() -> Any:
    with on_device():
        return MptForCausalLM(MptConfig(d_model=4096, n_heads=32, n_layers=32, vocab_size=50432)).eval()


def llava() -> Any:
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14,
    )  # fmt: skip
    with on_device():
        return LlavaForConditionalGeneration(
            LlavaConfig(vision_config=vision, text_config=LlamaConfig(vocab_size=VOCABULARY + 64))
        ).eval()


def engine(family: Family, model: Any, tokenizer: Any, limits: Limits, precision: Precision = Precision.BF16) -> Engine:
    return Engine(_loaded(family, model, tokenizer, precision), limits)


def _loaded(family: Family, model: Any, tokenizer: Any, precision: Precision) -> LoadedModel:
    return LoadedModel(
        family=family,
        model=model,
        tokenizer=tokenizer,
        precision=precision,
        dtype=torch.bfloat16,
        device=CUDA,
        context=2048,
        eos_ids=frozenset({2}),
        nbytes=sum(weight.nbytes for weight in model.parameters()),
    )


def one_client(precision: Precision, tokenizer: Any, bandwidth: float, pairs: int) -> list[Row]:
    """Decoding alone: against the bandwidth, and in bf16 against a compiled `generate` with a static cache."""
    model = llama(precision)
    embeddings = model.get_input_embeddings().weight.nbytes  # one row of it is read
    weights = sum(weight.nbytes for weight in model.parameters()) - embeddings
    asks = [Ask(tuple(range(3, 3 + PROMPT)), ANSWER)]
    theirs = []
    if precision is Precision.BF16:
        compiled = {"cache_implementation": "static"}  # generate compiles the decoding step itself
        sequential(model, asks, **compiled)
        theirs = [sequential(model, asks, **compiled).rate for _ in range(pairs)]
    limits = Limits(max_running=1, kv_tokens=4096, page_tokens=128, reuse=False)
    serving = engine(Family.LLAMA, model, tokenizer, limits, precision)
    ours(serving, asks, 1)
    found = [ours(serving, asks, 1) for _ in range(pairs)]
    decoding = median((one.tokens - 1) / (one.seconds - one.wait) for one in found)
    kv = kv_bytes_per_token(_loaded(Family.LLAMA, model, tokenizer, precision)) * (PROMPT + ANSWER // 2)
    rows = [Row(name=f"1 client, {precision}: decoding", value=round(decoding, 1), unit="tokens/s")]
    share = Row(
        name=f"1 client, {precision}: of what the bandwidth allows",
        value=round(decoding * (weights + kv) / bandwidth, 2),
        unit="",
        bar=SHARE if precision is Precision.BF16 else "",
    )
    rows.append(share)
    if theirs:
        ratio = median(one.rate / other for one, other in zip(found, theirs, strict=True))
        rows.append(
            Row(name="1 client: faster than compiled generate", value=round(ratio, 2), unit="times", bar=">= 1")
        )
    return rows


def crowd(tokenizer: Any, pairs: int) -> list[Row]:
    """32 and 64 clients against transformers' continuous batching, with MPT and LLaVA resident beside."""
    limits = Limits(max_running=64, kv_tokens=16384, page_tokens=128, reuse=False)
    beside = [
        engine(Family.MPT, mpt(), tokenizer, Limits(kv_tokens=2048, page_tokens=128)),
        engine(Family.LLAVA, llava(), tokenizer, Limits(kv_tokens=2048, page_tokens=128)),
    ]
    for other in beside:
        ours(other, [Ask((5, 6, 7), 8)], 1)
    rows = []
    theirs, served = llama(), llama()
    serving = engine(Family.LLAMA, served, tokenizer, limits)
    settings: dict[str, Any] = {"page_size": 256, "num_blocks": 96, "max_batch_tokens": 2048}
    for clients in (32, 64):
        asks = workload(TURNS * clients, VOCABULARY)
        ours(serving, asks, clients)
        ratios = []
        for _ in range(pairs):
            side = continuous(theirs, asks, clients, ContinuousBatchingConfig(**settings))
            ratios.append(ours(serving, asks, clients).rate / side.rate)
        rows.append(
            Row(name=f"{clients} clients: faster than transformers' continuous batching",
                value=round(median(ratios), 2), unit="times", bar=">= 1")
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

"""The scores of the same forced tokens on three sides: transformers alone, in a padded batch of eight, and flat."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration, MptForCausalLM

from app.inference.engine.kv import KvStore
from app.inference.engine.lora import Route, install
from app.inference.families import FlatModel, flat_model
from app.inference.families.flat import ByRow, Chunk, Decode, FlatBatch, Gathered, causal
from app.inference.loaded import Adapter
from app.inference.types import Family, Precision
from app.inference.weights.precisions import quantisation
from tests.support.inference_models import (
    IMAGE_TOKEN,
    IMAGE_TOKENS,
    loaded,
    random_adapter,
    sharpen,
    tiny_llama,
    tiny_llava,
    tiny_mpt,
)
from tests.support.inference_peft import by_peft

LENGTHS = (39, 30, 47, 24, 26, 52, 21, 37)
_ADAPTED = ("q_proj", "v_proj")

# Of the scores' spread: what no precision here resolves. transformers' MPT gives the same bits in a batch as alone, and
# whatever adds in another order does not: its last bit decides how a kernel of 4 bits rounds what it is given.
_ROUNDING = 5e-5


@dataclass(frozen=True, slots=True)
class Case:
    """A tiny model in a precision, on a device; `adapted`: under an adapter."""

    family: Family
    precision: Precision
    adapted: bool = False
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.family}{'-adapted' if self.adapted else ''}-{self.precision}"


CASES = [
    Case(family, precision, adapted)
    for precision in (Precision.BF16, Precision.NF4, Precision.INT8)
    for family, adapted in ((Family.LLAMA, False), (Family.LLAMA, True), (Family.MPT, False), (Family.LLAVA, False))
]


def model_of(case: Case, folder: Path) -> Any:
    """Quantised ones as a loader makes them: while they are read."""
    make: Callable[[], Any] = {
        Family.LLAMA: tiny_llama, Family.MPT: lambda: tiny_mpt(heads=4), Family.LLAVA: tiny_llava,
    }[case.family]  # fmt: skip
    if not case.precision.quantised:
        return sharpen(make(), 0).to(torch.bfloat16).to(case.device)
    if not folder.exists():
        make().save_pretrained(folder)
    read: Any = {
        Family.LLAMA: LlamaForCausalLM, Family.MPT: MptForCausalLM, Family.LLAVA: LlavaForConditionalGeneration,
    }[case.family]  # fmt: skip
    dtype = torch.float32 if case.device == "cpu" else torch.float16
    options = {} if case.device == "cpu" else {"device_map": {"": case.device}}
    return read.from_pretrained(
        folder, quantization_config=quantisation(case.precision, dtype), dtype=dtype, **options
    ).eval()


def adapter_of(case: Case, model: Any) -> Adapter:
    """Over plain weights of the same shape: those of a quantised layer have another."""
    paths = [path for path, _ in model.named_modules() if path.endswith(_ADAPTED)]
    made = random_adapter(tiny_llama(), "own", paths, rank=4, seed=1)
    for layer in made.layers.values():
        layer.a.data, layer.b.data = (half.to(case.device, model.dtype) for half in (layer.a, layer.b))
    return made


def texts(case: Case) -> list[list[int]]:
    """Pictures come first where there are any."""
    chance = random.Random(0)
    seen = [5, *[IMAGE_TOKEN] * IMAGE_TOKENS] if case.family is Family.LLAVA else []
    return [seen + [chance.randrange(3, 290) for _ in range(length - len(seen))] for length in LENGTHS]


def pixels(case: Case, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(LENGTHS), 3, 56, 56, generator=generator).to(case.device, dtype)


def alone(case: Case, model: Any) -> list[Tensor]:
    seen = pixels(case, model.dtype)
    given = [{"pixel_values": one[None]} if case.family is Family.LLAVA else {} for one in seen]
    return [
        model(torch.tensor([ids], device=case.device), **more).logits[0].float()
        for ids, more in zip(texts(case), given, strict=True)
    ]


def in_a_batch(case: Case, model: Any) -> list[Tensor]:
    longest = max(LENGTHS)
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in texts(case)], device=case.device)
    mask = torch.tensor([[0] * (longest - length) + [1] * length for length in LENGTHS], device=case.device)
    more: dict[str, Any] = {"pixel_values": pixels(case, model.dtype)} if case.family is Family.LLAVA else {}
    if case.family is not Family.MPT:  # which knows no positions but those of its keys
        more["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(ids, attention_mask=mask, **more).logits.float()
    return [row[longest - length :] for row, length in zip(logits, LENGTHS, strict=True)]


def flat(case: Case, model: Any) -> list[Tensor]:
    """All but the last token of each as chunks of one flat batch, then the last ones as rows that decode."""
    route = Route()
    if case.adapted:
        install(model, {"own": adapter_of(case, model)}, route)
    family = flat_model(loaded(model, case.family))
    device = torch.device(case.device)
    store = KvStore(shape=family.kv, tokens=1024, page=4, dtype=model.dtype, device=device)
    grants = [grant for one in texts(case) if (grant := store.admit(None, torch.tensor(one).numpy(), len(one)))]
    chunks, first = [], 0
    for grant, length in zip(grants, LENGTHS, strict=True):
        count = length - 1
        place = grant.place(count, device)
        chunks.append(Chunk(first=first, last=first + count, start=0, place=place, mask=causal(0, count, device)))
        first += count
    slots = [int(slot) for grant, length in zip(grants, LENGTHS, strict=True) for slot in grant.slots[: length - 1]]
    begun = _scores(case, family, route, [one[:-1] for one in texts(case)], FlatBatch(
        positions=torch.cat([torch.arange(length - 1, device=device) for length in LENGTHS]),
        slots=torch.tensor(slots, device=device), rows=0, decode=None, chunks=tuple(chunks), arena=store.arena,
    ))  # fmt: skip
    lengths = torch.tensor(LENGTHS, device=device)
    ended = _scores(case, family, route, [one[-1:] for one in texts(case)], FlatBatch(
        positions=lengths - 1,
        slots=torch.tensor([int(grant.slots[n - 1]) for grant, n in zip(grants, LENGTHS, strict=True)], device=device),
        rows=len(LENGTHS), decode=_lookup(grants, lengths), chunks=(), arena=store.arena,
    ))  # fmt: skip
    parts = torch.split_with_sizes(begun, [length - 1 for length in LENGTHS])
    return [torch.cat([part, ended[row : row + 1]]) for row, part in enumerate(parts)]


def _lookup(grants: list[Any], lengths: Tensor) -> Decode:
    """In place on the CPU and padded on CUDA, as the engine does it."""
    if lengths.device.type == "cpu":
        return ByRow([grant.place(n, lengths.device) for grant, n in zip(grants, LENGTHS, strict=True)])
    index = torch.zeros(len(grants), max(LENGTHS), dtype=torch.int64)
    for row, (grant, length) in enumerate(zip(grants, LENGTHS, strict=True)):
        index[row, :length] = torch.from_numpy(grant.slots[:length])
    return Gathered(index.to(lengths.device), lengths)


def _scores(case: Case, family: FlatModel, route: Route, told: list[list[int]], batch: FlatBatch) -> Tensor:
    ids = torch.tensor([token for one in told for token in one], device=case.device)
    route.follow(torch.ones_like(ids) if case.adapted else None)
    embeds = family.embed(ids)
    at = ids == IMAGE_TOKEN
    if case.family is Family.LLAVA and at.any():
        embeds[at] = family.pictures(pixels(case, embeds.dtype)).flatten(0, 1).to(embeds.dtype)
    return family.logits(family.hidden(embeds, batch)).float()


def distance(some: list[Tensor], others: list[Tensor]) -> float:
    """The mean difference of two sides' scores."""
    return float(torch.cat([(one - other).abs().flatten() for one, other in zip(some, others, strict=True)]).mean())


def compared(case: Case, folder: Path) -> tuple[float, float]:
    """How far the flat batch's scores are from those of transformers alone, and how far they may be."""
    plain = model_of(case, folder)
    reference = by_peft(plain, adapter_of(case, plain)) if case.adapted else plain
    with torch.inference_mode():
        single, batched = alone(case, reference), in_a_batch(case, reference)
        found = flat(case, model_of(case, folder))
        if case.family is Family.MPT and not case.precision.quantised:
            # transformers counts ALiBi's bias from the end of a text, which bf16 makes coarse; ours counts from each
            # query. So both are held against the same weights in fp32 arithmetic.
            single = alone(case, reference.float())
    spread = torch.cat([one.flatten() for one in single]).std().item()
    return distance(found, single), distance(batched, single) + _ROUNDING * spread

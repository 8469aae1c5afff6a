"""The order of a load: fetch, configure, read, adapt. The only module here that knows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from app.inference.loaded import Adapter, LoadedModel
from app.inference.types import Family, ModelCard
from app.inference.weights import adapters, base, configs, places, quiet, sizes, tokenizers
from app.inference.weights.base import Wanted
from app.inference.weights.files import read_json
from app.inference.weights.places import Hub
from app.inference.weights.progress import Report, part, rising

_CPU: Final = torch.device("cpu")
_OUR_HUB: Final = Hub()


def load(cards: Sequence[ModelCard], device: torch.device, on_progress: Report, *, hub: Hub = _OUR_HUB) -> LoadedModel:
    """The model that `cards`, all of one base, share, with the adapter of each that has one, by the card's name.

    `on_progress` is told what is being done and the fraction of the whole. Raises ModelUnavailable: WeightsMissing,
    WeightsCorrupt, WeightsMismatch, NoRoom.
    """
    quiet.mute_bitsandbytes()
    card = cards[0]
    on_progress = rising(on_progress)
    directory, lora = _fetch(cards, hub, part(on_progress, 0.0, 0.5))
    context = max(one.context for one in cards)
    wanted = _wanted(card, directory, context, device)
    tokenizer = tokenizers.load(directory, card.family)
    if card.family is Family.LLAMA:
        configs.special(wanted.config, tokenizer)
    model = base.load(directory, wanted, part(on_progress, 0.5, 0.95))
    found: dict[str, Adapter] = {}
    for name, place in lora.items():
        on_progress(f"Reading the adapter of {name}", 0.95)
        found[name] = adapters.load(name, place, model, device, wanted.dtype)
    on_progress("Ready", 1.0)
    return LoadedModel(
        family=card.family,
        model=model,
        tokenizer=tokenizer,
        processor=tokenizers.processor(directory, wanted.config, tokenizer) if card.family is Family.LLAVA else None,
        adapters=found,
        precision=card.precision,
        dtype=wanted.dtype,
        device=device,
        context=context,
        eos_ids=tokenizers.end_ids(tokenizer, card.family, directory),
        nbytes=sizes.loaded(model, found.values()),
    )


def estimate(cards: Sequence[ModelCard], device: torch.device = _CPU, *, hub: Hub = _OUR_HUB) -> int:
    """The bytes that `load` of the same cards will take up on `device`, from the configurations alone.

    Fetches config.json and adapter_config.json where they are on the Hub. Raises as `load` does.
    """
    card = cards[0]
    directory = places.file(places.weights_of(card), "config.json", hub).parent
    wanted = _wanted(card, directory, card.context, device)
    model = base.outline(wanted)
    total = sizes.planned(model, wanted.precision, wanted.dtype)
    for source in filter(None, map(places.adapter_of, cards)):
        config = read_json(places.file(source, "adapter_config.json", hub))
        total += adapters.planned(config, model) * wanted.dtype.itemsize
    return total


def _fetch(cards: Sequence[ModelCard], hub: Hub, report: Report) -> tuple[Path, dict[str, Path]]:
    directory = places.directory(places.weights_of(cards[0]), hub, part(report, 0.0, 0.9))
    lora = {}
    for card in cards:
        if source := places.adapter_of(card):
            lora[card.name] = places.directory(source, hub, part(report, 0.9, 1.0))
    return directory, lora


def _wanted(card: ModelCard, directory: Path, context: int, device: torch.device) -> Wanted:
    config = configs.read(directory, card, context)
    return Wanted(family=card.family, config=config, precision=card.precision, device=device)

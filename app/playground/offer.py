"""What the page says of a model before the core is there: its name for people and the sampling of its original demo.

Read from the same catalogue as the core's, without weights. What the core says goes before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from app.inference import catalog
from app.inference.catalog import Preset
from app.inference.types import ModelCard
from app.playground.client import Model, Sampling

FIELDS = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")


@cache
def cards(preset: Preset = Preset.FULL) -> Mapping[str, ModelCard]:
    return MappingProxyType({card.name: card for card in catalog.read(preset)})


def title(name: str) -> str:
    card = cards().get(name)
    return card.title if card else name


def defaults(name: str, model: Model | None = None) -> Sampling:
    """The sampling of the original demo; of the small weights, theirs. `model` is what the core says of it."""
    card = cards(Preset.DEMO if model and model.demo else Preset.FULL)[name]
    known = {field: getattr(card.defaults, field) for field in FIELDS}
    said = model.defaults if model else {}
    return known | {field: said[field] for field in FIELDS if field in said}


def chosen(name: str, model: Model | None, values: Sampling) -> Sampling:
    """Of `values`, those a person changed: what stands at a default is left to the model."""
    untouched = (defaults(name), defaults(name, model))
    return {
        field: value
        for field, value in values.items()
        if not any(field in known and value == known[field] for known in untouched)
    }

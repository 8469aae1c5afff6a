"""The parameters of a chat tab: how the next word is chosen, and the system prompt. Knows components, not the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.playground import offer
from app.playground.client import Model, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sliders in the order of `offer.FIELDS`, then the seed."""

    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    repetition_penalty: gr.Slider
    max_tokens: gr.Slider
    seed: gr.Number

    @property
    def sliders(self) -> list[Any]:
        return [getattr(self, name) for name in offer.FIELDS]

    @property
    def all(self) -> set[Any]:
        return {*self.sliders, self.seed}

    def read(self, values: dict[Any, Any], name: str, model: Model | None) -> Sampling:
        """What was changed from the model's own defaults. A seed of 0 or less is drawn anew each time."""
        told = {field: values[getattr(self, field)] for field in offer.FIELDS}
        seed = int(values[self.seed] or 0)
        found = {field: value for field, value in told.items() if value is not None}
        changed = offer.chosen(name, model, found)
        return {**changed, "seed": seed} if seed > 0 else changed

    def at_defaults(self, name: str, model: Model | None) -> list[Any]:
        """The sliders where the original demo has them."""
        return [gr.Slider(value=value) for value in offer.defaults(name, model).values()]


def build(name: str) -> Parameters:
    """Lay the sliders out, at the defaults of the model `name`."""
    at = offer.defaults(name)
    return Parameters(
        temperature=gr.Slider(0, 2, at["temperature"], step=0.05, label="Temperature", info="0: the likeliest word"),
        top_p=gr.Slider(0.05, 1, at["top_p"], step=0.05, label="Top p", info="The likeliest words up to this share"),
        top_k=gr.Slider(0, 100, at["top_k"], step=1, label="Top k", info="So many likeliest words; 0: all"),
        repetition_penalty=gr.Slider(
            1, 2, at["repetition_penalty"], step=0.05, label="Repetition penalty", info="1: none"
        ),
        max_tokens=gr.Slider(
            1, 2048, at["max_tokens"], step=1, label="Longest answer", info="In tokens: about ¾ of a word each"
        ),
        seed=gr.Number(0, precision=0, minimum=0, label="Seed", info="0: another answer each time"),
    )

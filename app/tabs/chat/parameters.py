"""The parameters of a chat tab: how the next word is chosen, and the system prompt. Knows components, not the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.machine import naming
from app.playground import offer
from app.playground.client import Model, Sampling
from app.playground.playground import Playground
from app.views import chat as chat_view

SYSTEM_INFO = "Left empty, the model's own is used, which is shown here in grey"
MOST = {"temperature": 2.0, "top_p": 1.0, "top_k": 100, "repetition_penalty": 2.0, "max_tokens": 2048}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Sliders in the order of `offer.FIELDS`, then the seed; and a line that says how fast the model was.

    They are the model `name`'s; where a person chooses one, that of `choice`, and then there is no line.
    """

    name: str
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Slider
    repetition_penalty: gr.Slider
    max_tokens: gr.Slider
    seed: gr.Number
    speed: gr.HTML | None = None
    choice: gr.Dropdown | None = None

    @property
    def sliders(self) -> list[Any]:
        return [getattr(self, name) for name in offer.FIELDS]

    @property
    def all(self) -> set[Any]:
        return {*self.sliders, self.seed}

    @property
    def read_by_follow(self) -> set[Any]:
        return {*self.sliders, *([self.choice] if self.choice else [])}

    def read(self, values: dict[Any, Any], name: str, model: Model | None) -> Sampling:
        """What was changed from the model's own defaults. A seed of 0 or less is drawn anew each time."""
        seed = int(values[self.seed] or 0)
        changed = offer.chosen(name, model, self._told(values))
        return {**changed, "seed": seed} if seed > 0 else changed

    def at_defaults(self, name: str, model: Model | None) -> list[Any]:
        """The sliders where the original demo has them, within what the model takes."""
        return [_slider(field, value, model) for field, value in offer.defaults(name, model).items()]

    def followed(self, values: dict[Any, Any], known: Callable[[str], Model | None]) -> list[Any]:
        """The sliders as the core says, now that it is known; what a person moved stays where it is."""
        name = str(values[self.choice]) if self.choice else self.name
        model, told = known(name), self._told(values)
        moved = offer.chosen(name, model, told)
        at = offer.defaults(name, model)
        return [_slider(field, moved.get(field, at[field]), model) for field in offer.FIELDS]

    def speeds(self, playground: Playground) -> str:
        """How fast the model was, on each device that it ran on; here first."""
        model = playground.core.model(self.name)
        title = model.title if model else offer.title(self.name)
        known = playground.conversations.speeds(title, bool(model and model.demo))
        return chat_view.speeds(known, naming.device(model.device) if model else "")

    def _told(self, values: dict[Any, Any]) -> Sampling:
        told = {field: values[getattr(self, field)] for field in offer.FIELDS}
        return {field: value for field, value in told.items() if value is not None}


def _slider(field: str, value: float, model: Model | None) -> gr.Slider:
    """At `value`. No answer is longer than the model's memory; other bounds give way to a default beyond them."""
    most = model.context if model and model.context and field == "max_tokens" else MOST[field]
    return gr.Slider(value=value, maximum=max(most, value))


def speed_line(room: str) -> gr.HTML:
    """The line that says how fast the model was; empty until it has answered."""
    return gr.HTML(elem_id=f"{room}-speed", elem_classes="sr-part", apply_default_css=False)


def system_prompt(room: str, known: str | None) -> gr.Textbox:
    """Where a system prompt is written. `known`: the one that is used unless another is; None where there is none."""
    return gr.Textbox(label="System prompt", info=SYSTEM_INFO, lines=3, max_lines=8, placeholder=known,
                      visible=known is not None, elem_id=f"{room}-system")  # fmt: skip


def build(name: str, speed: gr.HTML | None = None, choice: gr.Dropdown | None = None) -> Parameters:
    """Lay the sliders out, where the catalogue has them: the core may not be there yet."""
    at = offer.defaults(name)
    # A slider is set back to where it stood first, which is another model's default once one was chosen.
    buttons: Any = None if choice is None else []

    def slider(field: str, least: float, step: float, label: str, info: str) -> gr.Slider:
        most = max(MOST[field], at[field])
        return gr.Slider(least, most, at[field], step=step, label=label, info=info, buttons=buttons)

    return Parameters(
        name=name,
        temperature=slider("temperature", 0, 0.05, "Temperature", "0: the likeliest word"),
        top_p=slider("top_p", 0.05, 0.05, "Top p", "The likeliest words up to this share"),
        top_k=slider("top_k", 0, 1, "Top k", "So many likeliest words; 0: all"),
        repetition_penalty=slider("repetition_penalty", 1, 0.05, "Repetition penalty", "1: none"),
        max_tokens=slider("max_tokens", 1, 1, "Longest answer", "In tokens: about ¾ of a word each"),
        seed=gr.Number(0, precision=0, minimum=0, label="Seed", info="0: another answer each time"),
        speed=speed,
        choice=choice,
    )

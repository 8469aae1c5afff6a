"""One side of a comparison: which models can stand there, and the components that say how its model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import gradio as gr

from app.playground import offer, requests
from app.playground.client import Model, Sampling
from app.tabs.chat import alpaca, guanaco, llava, mpt, parameters, story
from app.tabs.chat.panel import Choice
from app.tabs.chat.parameters import Parameters

HEIGHT = "min(52vh, 480px)"
Values = dict[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model that can be compared. `pictures`: it looks at them."""

    choice: Choice
    pictures: bool = False


def _contenders() -> Mapping[str, Contender]:
    choices = (
        guanaco.SPEC.model,
        Choice(
            name=alpaca.MODEL,
            ask=requests.instruction,
            note="Each message is an instruction on its own: this model does not look at earlier ones.",
        ),
        mpt.CHAT.model,
        mpt.INSTRUCT.model,
        Choice(
            name=story.MODEL,
            ask=requests.story,
            note="Goes on with the text of your messages, where the others answer them.",
        ),
        llava.SPEC.model,
    )
    return MappingProxyType({
        choice.name: Contender(choice=choice, pictures=choice is llava.SPEC.model) for choice in choices
    })  # fmt: skip


CONTENDERS = _contenders()


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """`title`: Left or Right."""

    title: str
    model: gr.Dropdown
    note: gr.HTML
    chat: gr.Chatbot
    system: gr.Textbox
    parameters: Parameters

    @property
    def inputs(self) -> set[Any]:
        return {self.model, self.system, *self.parameters.all}

    @property
    def how(self) -> list[Any]:
        """What another model changes of the side."""
        return [self.note, self.system, *self.parameters.sliders]

    def stands(self, name: str, model: Model | None, system: str = "") -> tuple[Any, ...]:
        """The values of `how` for the model `name`, of which the core says `model`: its original demo's."""
        choice = CONTENDERS[name].choice
        written = gr.Textbox(value=system, placeholder=choice.system, visible=choice.system is not None)
        return _note(choice), written, *self.parameters.at_defaults(name, model)

    def asked(self, values: Values, name: str, model: Model | None) -> tuple[str, Sampling]:
        """The system prompt that was written, "" for none, and the parameters that were changed."""
        knows = CONTENDERS[name].choice.system is not None
        system = (values[self.system] or "").strip() if knows else ""
        return system, self.parameters.read(values, name, model)


def _note(choice: Choice) -> str:
    return f'<p class="sr-quiet">{choice.note}</p>' if choice.note else ""


def chat(room: str, name: str, title: str) -> tuple[gr.Dropdown, gr.HTML, gr.Chatbot]:
    """Lay out what a side says, where its column is being built."""
    choices = [(offer.title(each), each) for each in CONTENDERS]
    model = gr.Dropdown(choices, value=name, label=f"{title} model", filterable=False, elem_id=f"{room}-model")
    answers = gr.Chatbot(label=f"{title} answers", height=HEIGHT, buttons=["copy"], feedback_options=None,
                         elem_id=f"{room}-chat", elem_classes="sr-side")  # fmt: skip
    note = gr.HTML(_note(CONTENDERS[name].choice), elem_id=f"{room}-note", elem_classes="sr-part",
                   apply_default_css=False)  # fmt: skip
    return model, note, answers


def build(room: str, title: str, shown: tuple[gr.Dropdown, gr.HTML, gr.Chatbot]) -> Side:
    """Lay out how its model is asked. `shown`: what `chat` laid out."""
    model, note, answers = shown
    name = str(model.value)
    with gr.Accordion(f"{title} model's parameters", open=False, elem_id=f"{room}-parameters"):
        system = parameters.system_prompt(room, CONTENDERS[name].choice.system)
        sliders = parameters.build(name, choice=model)
    return Side(title=title, model=model, note=note, chat=answers, system=system, parameters=sliders)

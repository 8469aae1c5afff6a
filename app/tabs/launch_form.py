"""What a person fills in before a launch: the paste box, examples and options. Knows components, not the runner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app import forms
from app.playground import offer
from spaces_runner.types import RunOptions

Secrets = dict[str, str]
Values = dict[Any, Any]  # what a handler is given: the value of each input, by component


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFields:
    """The components of the options, and what they hold as the runner's options."""

    name: gr.Textbox
    share: gr.Checkbox
    refresh: gr.Checkbox
    apt: gr.Checkbox
    gpu: gr.Textbox
    python: gr.Textbox
    app_args: gr.Textbox
    environment: gr.Textbox
    model: gr.Dropdown
    address: gr.Textbox
    secret_name: gr.Dropdown
    secret_value: gr.Textbox
    secrets: gr.State

    @property
    def all(self) -> set[Any]:
        return {getattr(self, name) for name in self.__slots__}

    def read(self, values: Values) -> tuple[RunOptions, Secrets]:
        """The options and secrets of a submitted form. Raises FormError."""
        kept = with_secret(values[self.secret_name], values[self.secret_value], values[self.secrets])
        filled = forms.Filled(
            share=values[self.share],
            refresh=values[self.refresh],
            apt=values[self.apt],
            gpu=values[self.gpu] or "",
            python=values[self.python] or "",
            app_args=values[self.app_args] or "",
            environment=values[self.environment] or "",
            model=with_variable(values[self.model] or "", values[self.address] or ""),
        )
        return forms.options(filled, tuple(kept)), kept

    def named(self, values: Values) -> str | None:
        """The name that the Space is to have; None where none was written."""
        return (values[self.name] or "").strip() or None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchForm:
    """The components of the form. A handler that takes `inputs` is given their values by component."""

    text: gr.Textbox
    inspect: gr.Button
    launch: gr.Button
    offers: gr.Dataset
    options: OptionFields

    @property
    def inputs(self) -> set[Any]:
        return {self.text, *self.options.all}


def with_secret(name: str | None, value: str, secrets: Secrets) -> Secrets:
    """`secrets` and the one that is typed in, if one is. Raises FormError."""
    return {**secrets, forms.variable_name(name or ""): value} if value else dict(secrets)


def with_variable(model: str, variable: str) -> str:
    """A model for the Space and, where one is named, the variable that gets its address. Raises FormError."""
    return f"{model}={forms.variable_name(variable)}" if model and variable.strip() else model


def build(examples: Path | None) -> LaunchForm:
    """Lay the form out in the Blocks that is being built."""
    with gr.Row(equal_height=True, elem_classes="sr-paste"):
        text = gr.Textbox(
            "",
            label="Space",
            placeholder="owner/name, a link to a Space, or a directory on this machine",
            info="huggingface.co/spaces/owner/name, owner/name@revision, owner-name.hf.space or a directory",
            max_lines=1,
            scale=6,
            min_width=260,
            elem_id="space",
        )
        with gr.Column(scale=2, min_width=220, elem_classes="sr-go"), gr.Row():
            inspect = gr.Button("Inspect", min_width=90, elem_id="inspect")
            launch = gr.Button("Launch", variant="primary", min_width=90, elem_id="launch")
    samples = offered(examples, ())
    offers = gr.Dataset(
        components=[text],
        samples=samples,
        sample_labels=[_label(sample[0]) for sample in samples],
        label="Examples and recent Spaces",
        samples_per_page=12,
        visible=bool(samples),
        elem_id="offers",
    )
    with gr.Accordion("Options", open=False, elem_id="options"):
        fields = _options()
    return LaunchForm(text=text, inspect=inspect, launch=launch, offers=offers, options=fields)


def _options() -> OptionFields:
    with gr.Row():
        share = gr.Checkbox(True, label="Public link", info="Anybody who has the link can use the app")
        refresh = gr.Checkbox(False, label="Resolve the packages anew", info="Look for newer versions of packages")
        apt = gr.Checkbox(False, label="System packages", info="Install packages.txt by apt, on this whole machine")
    with gr.Row():
        gpu = _line("GPU", "auto, none, or a GPU's number", "auto")
        python = _line("Python", "As the Space says, when empty", placeholder="3.11")
        app_args = _line("Arguments of the app", "For one that reads a command line", placeholder="--base_model NAME")
    name = _line("Name", "To run the same Space once more, beside the others", elem_id="launch-name")
    environment = gr.Textbox(
        "", label="Variables", info="One NAME=value a line", lines=2, placeholder="MODEL_ID=owner/model"
    )
    with gr.Row():
        model = gr.Dropdown(
            [("None", ""), *((card.title, name) for name, card in offer.cards().items())], value="", filterable=False,
            label="Local model", info="For a Space that asks a TGI server: it asks this machine's models instead",
            min_width=140, elem_id="launch-model",
        )  # fmt: skip
        address = _line("Variable for the model's address", "The one that the Space reads it from; the token goes "
                        "into API_TOKEN", placeholder="API_URL", elem_id="launch-address")  # fmt: skip
    with gr.Row(equal_height=True):
        secret_name = gr.Dropdown(
            [], label="Secret", info="Kept apart, never in a log", allow_custom_value=True, value=None, min_width=140,
            elem_id="secret-name",
        )  # fmt: skip
        secret_value = _line("Its value", "Goes to this Space alone", type="password", elem_id="secret-value")
        add = gr.Button("Add secret", min_width=130, scale=0, elem_classes="sr-add")
    kept = gr.Markdown(visible=False)
    fields = OptionFields(
        name=name,
        share=share,
        refresh=refresh,
        apt=apt,
        gpu=gpu,
        python=python,
        app_args=app_args,
        environment=environment,
        model=model,
        address=address,
        secret_name=secret_name,
        secret_value=secret_value,
        secrets=gr.State({}),
    )
    _wire_secrets(add, fields, kept)
    return fields


def _line(label: str, info: str, value: str = "", **more: Any) -> gr.Textbox:
    return gr.Textbox(value, label=label, info=info, max_lines=1, min_width=140, **more)


def _wire_secrets(add: gr.Button, fields: OptionFields, kept: gr.Markdown) -> None:
    def keep(typed: str | None, text: str, known: Secrets) -> tuple[None, str, Secrets]:
        try:
            return None, "", with_secret(typed, text, known)
        except forms.FormError as error:
            raise gr.Error(f"{error.message} {error.hint}", print_exception=False) from error

    def show(known: Secrets) -> Any:
        names = ", ".join(f"`{name}`" for name in sorted(known))
        return gr.Markdown(f"Secrets for the next launch: {names}", visible=bool(known))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    both = [fields.secret_name, fields.secret_value, fields.secrets]
    # In the queue: of a State that a handler outside of it changed, the page hears nothing.
    add.click(keep, both, both, **quiet)
    fields.secrets.change(show, fields.secrets, kept, queue=False, **quiet)


def offered(examples: Path | None, recent: tuple[str, ...]) -> list[list[str]]:
    """What a click fills in: the directories of `examples` that hold a Space, then recent Spaces."""
    folders = sorted(path.parent for path in examples.glob("*/README.md")) if examples and examples.is_dir() else []
    return [[text] for text in dict.fromkeys([*map(str, folders), *recent])]


def offers_update(examples: Path | None, recent: tuple[str, ...]) -> gr.Dataset:
    samples = offered(examples, recent)
    return gr.Dataset(samples=samples, sample_labels=[_label(sample[0]) for sample in samples], visible=bool(samples))


def _label(text: str) -> str:
    """A directory by its last two parts; anything else as it is."""
    return "/".join(Path(text).parts[-2:]) if text.startswith("/") else text

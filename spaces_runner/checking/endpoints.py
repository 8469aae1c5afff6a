"""A Gradio app's configuration → the endpoints that can be called, with a value for every input. Pure.

The configuration has told of components and of what they trigger since Gradio 3; `/info`, which tells the same to
clients, came later and leaves out examples. Before 3 there is one endpoint and a list of its inputs.
Source: gradio 2.9 to 6.31, `Blocks.get_config` and `Interface.get_config_file`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

TEXT = "Hello"
_BESIDES = re.compile(
    r"^_|clear|flag|lambda|load_example|like|undo|retry|reset|refresh|toggle|update|change|stop", re.I
)


class Media(StrEnum):
    """An input that wants a file of ours."""

    IMAGE = "image"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`values`: one for each input; a `Media` stands for a file. `states`: which of them are the session's, not ours.

    `name` is "" where the app gives none, `index` its number among what the app can do.
    """

    name: str
    index: int
    values: tuple[Any, ...]
    states: frozenset[int] = frozenset()
    examples: bool = False  # the values are the author's

    @property
    def beside(self) -> bool:
        """Whether it is hardly what the app is for."""
        return bool(_BESIDES.search(self.name)) or len(self.values) == len(self.states)

    def __str__(self) -> str:
        return f"/{self.name}" if self.name else f"function {self.index}"


class _Unknown(Exception):
    """No value can be made up for an input."""


def endpoints(config: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Those that can be called, the likeliest to be what the app is for first.

    Where some take inputs and are no mere button beside them, the others are left out: they would answer anyway.
    """
    if "dependencies" not in config:
        return _before_blocks(config)
    components = {part["id"]: part for part in _maps(config.get("components")) if "id" in part}
    triggers = _maps(config.get("dependencies"))
    samples = _samples(triggers, components)
    found = [_endpoint(number, trigger, components, samples) for number, trigger in enumerate(triggers)]
    able = [one for one in found if one]
    best = [one for one in able if not one.beside] or able
    return tuple(sorted(best, key=lambda one: (not one.examples, one.index)))


def _endpoint(
    number: int, trigger: Mapping[str, Any], components: Mapping[Any, Mapping[str, Any]], samples: Mapping[Any, Any]
) -> Endpoint | None:
    """None where it cannot be called: it runs in the browser, is private, answers nothing, or wants what we lack."""
    name, index = trigger.get("api_name"), trigger.get("id", number)
    private = name is False or trigger.get("api_visibility") == "private"
    if private or trigger.get("backend_fn") is False or not trigger.get("outputs"):
        return None
    inputs = [components.get(part) for part in trigger.get("inputs") or ()]
    try:
        kinds = [_kind(part) for part in inputs if part is not None]
        values = tuple(_value(part, samples.get(part["id"])) for part in inputs if part is not None)
    except _Unknown:
        return None
    if len(kinds) != len(inputs) or "dataset" in kinds:
        return None
    return Endpoint(
        name=name.strip("/") if isinstance(name, str) else "",
        index=index if isinstance(index, int) else number,
        values=values,
        states=frozenset(at for at, kind in enumerate(kinds) if kind in ("state", "browserstate")),
        examples=any(part["id"] in samples for part in inputs if part is not None),
    )


def _before_blocks(config: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """Gradio 2 has one: its inputs stand in the configuration itself, and its examples beside them."""
    inputs, rows = _maps(config.get("input_components")), config.get("examples")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], list) else []
    given = [row[at] if at < len(row) else None for at in range(len(inputs))]
    try:
        parts = [{"type": part.get("name"), "props": part} for part in inputs]
        values = tuple(_value(part, one) for part, one in zip(parts, given, strict=True))
    except _Unknown:
        return ()
    return (Endpoint(name="predict", index=0, values=values, examples=bool(row)),) if inputs else ()


def _samples(triggers: Sequence[Mapping[str, Any]], components: Mapping[Any, Mapping[str, Any]]) -> dict[Any, Any]:
    """The first of the author's examples for each component that has some: a table of them fills it when clicked."""
    found: dict[Any, Any] = {}
    for trigger in triggers:
        for table in [components.get(part) for part in trigger.get("inputs") or ()]:
            if table is None or _kind(table) != "dataset":
                continue
            rows = _props(table).get("samples")
            if isinstance(rows, list) and rows and isinstance(rows[0], list):
                found |= dict(zip(trigger.get("outputs") or (), rows[0], strict=False))
    return found


def _value(part: Mapping[str, Any], sample: Any) -> Any:
    """What to give an input: the author's example, what it shows at first, else the simplest of its kind."""
    kind, props = _kind(part), _props(part)
    if kind in tuple(Media):
        return Media(kind)
    if kind in ("microphone", "imageeditor", "sketchpad", "paint"):
        raise _Unknown
    if kind in _PLAIN and isinstance(sample, str | int | float | bool | list) and sample not in ("", []):
        return sample
    value = props.get("value", props.get("default"))
    if kind in ("state", "browserstate"):
        return None
    if value not in (None, "", []) and kind in {*_PLAIN, *_SHAPED}:
        return value
    if kind in ("dropdown", "radio", "checkboxgroup"):
        return _choice(kind, props)
    if kind in ("number", "slider"):
        return next((props[name] for name in ("minimum", "min") if isinstance(props.get(name), int | float)), 1)
    if kind not in {*_PLAIN, *_SHAPED}:
        raise _Unknown
    return {**_PLAIN, **_SHAPED}[kind]


_PLAIN: dict[str, Any] = {
    "textbox": TEXT, "text": TEXT, "textarea": TEXT, "code": TEXT, "markdown": TEXT, "label": TEXT, "html": TEXT,
    "number": 1, "slider": 1, "checkbox": False, "radio": None, "dropdown": None, "checkboxgroup": [],
    "colorpicker": "#336699", "button": TEXT,
}  # fmt: skip
_SHAPED: dict[str, Any] = {
    "chatbot": [], "json": {}, "timer": 1, "multimodaltextbox": {"text": TEXT, "files": []},
    "dataframe": {"headers": ["1"], "data": [["1"]], "metadata": None}, "highlightedtext": [],
}  # fmt: skip


def _choice(kind: str, props: Mapping[str, Any]) -> Any:
    """The first choice; from Gradio 4 on each is a pair of what is shown and what is meant."""
    choices = props.get("choices") or ()
    if not choices:
        raise _Unknown
    first = choices[0][1] if isinstance(choices[0], list | tuple) and len(choices[0]) == 2 else choices[0]
    return [first] if kind == "checkboxgroup" or props.get("multiselect") else first


def _kind(part: Mapping[str, Any]) -> str:
    return str(part.get("type") or "").lower()


def _props(part: Mapping[str, Any]) -> Mapping[str, Any]:
    props = part.get("props")
    return props if isinstance(props, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

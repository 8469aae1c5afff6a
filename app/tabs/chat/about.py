"""What a newcomer wants to know of a tab's models, and the words, out of `models.md`: on the page, without the web."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import gradio as gr

WORDS = "The words"


def build(title: str) -> None:
    """A closed part of the tab of that title."""
    heading, text = told(title)
    with gr.Accordion(heading, open=False):
        gr.Markdown(text)


def told(title: str) -> tuple[str, str]:
    """Its heading and, in Markdown, what is said of the model that the tab is named after, else of all; the words."""
    found = sections()
    known = title in found
    names = [title] if known else [name for name in found if name != WORDS]
    text = "\n\n".join(f"### {name}\n\n{found[name]}" for name in [*names, WORDS])
    return f"What is {title}?" if known else "What are these models?", text


@cache
def sections() -> dict[str, str]:
    """The texts of `models.md` by their headings, in its order."""
    text = resources.files("app.tabs.chat").joinpath("models.md").read_text("utf-8")
    _, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}

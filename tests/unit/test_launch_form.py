"""The launch form as it is wired: what a browser hears of, and what goes to a launch."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from app.forms import FormError
from app.tabs import launch_form, spaces
from app.tabs.launch_form import LaunchForm


def test_a_state_that_is_listened_to_is_changed_in_the_queue_alone() -> None:
    """Of one that a handler outside of it changed, Gradio tells the page nothing."""
    unused: Any = None  # the runner, the models and the machine, which nobody asks while the tab is laid out

    async def lay_out() -> gr.Blocks:
        page = gr.Blocks()
        with page:
            spaces.build(page, unused, None, unused, unused)
        return page

    page = asyncio.run(lay_out())
    heard = {block for each in page.fns.values() for block, event in each.targets if event == "change"}
    states = {key for key in heard if key is not None and isinstance(page.blocks.get(key), gr.State)}
    assert states
    changes = [each for each in page.fns.values() if states & {output._id for output in each.outputs}]
    assert len(changes) >= 3  # added above, given in the plan's card, gone with a launch
    assert [each.name for each in changes if not each.queue] == []


@pytest.mark.parametrize(("typed", "name"), [("", None), (None, None), (" second ", "second")])
def test_an_empty_name_is_none(form: LaunchForm, typed: str | None, name: str | None) -> None:
    assert form.options.named({form.options.name: typed}) == name
    assert form.options.name in form.inputs


@pytest.mark.parametrize(
    ("model", "variable", "asked"),
    [
        ("", "", None),
        (None, None, None),
        ("", "API_URL", None),
        ("guanaco-7b", "", "guanaco-7b"),
        ("guanaco-7b", " MY_URL ", "guanaco-7b=MY_URL"),
    ],
)
def test_a_local_model_goes_to_the_space_by_its_variable(
    form: LaunchForm, model: str | None, variable: str | None, asked: str | None
) -> None:
    fields = form.options
    unwritten = dict.fromkeys(fields.all, "") | {fields.share: True, fields.secrets: {}}
    unwritten |= {fields.refresh: False, fields.apt: False}
    assert fields.read({**unwritten, fields.model: model, fields.address: variable})[0].model == asked
    with pytest.raises(FormError, match="cannot be the name"):
        fields.read({**unwritten, fields.model: "guanaco-7b", fields.address: "MY URL"})


@pytest.fixture
def form() -> LaunchForm:
    """In a loop, as Gradio would else make one that nobody closes."""

    async def lay_out() -> LaunchForm:
        with gr.Blocks():
            return launch_form.build(None)

    return asyncio.run(lay_out())

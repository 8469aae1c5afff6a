"""The tab of the programs' keys: make one for a program, see which there are, revoke one. For the owner alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.desk import Desk
from app.views import access_keys as view
from app.views import chat as chat_view
from spaces_runner.core import keys
from spaces_runner.errors import RunnerError

TITLE = "Access"
ID = "access"
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
# A click on a button of the list reaches `revoke` with the name it stands for.
_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-name]');
  if (!button) return;
  const {name} = button.dataset;
  if (confirm(`Revoke the key of ${name}? What uses it is refused from then on.`)) trigger('click', {name});
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    desk: Desk
    name: gr.Textbox
    make: gr.Button
    problem: gr.HTML
    key: gr.Textbox
    usage: gr.HTML
    listed: gr.HTML

    def connect(self, page: gr.Blocks, rooms: gr.Tabs) -> None:
        told = [self.name, self.problem, self.key, self.usage, self.listed]
        for asks in (self.make.click, self.name.submit):
            asks(self.add, self.name, told, **_QUIET)
        self.listed.click(self.revoke, None, told, **_QUIET)
        for looks in (page.load, rooms.select):
            looks(self.look, None, [self.problem, self.listed], **_QUIET)

    def look(self) -> tuple[str, str]:
        """The keys as they are: the command line makes and revokes them, too."""
        try:
            return "", view.listing(keys.listed(self.desk.settings), time.time())
        except RunnerError as error:
            return _sentence(error), ""

    def add(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """The new key, which is shown until the next one is made or the page is left."""
        try:
            made = self.desk.make_key(name.strip())
        except RunnerError as error:
            return (gr.skip(), _sentence(error), *self._nothing(), gr.skip())
        usage = view.usage(f"{request.url.scheme}://{request.url.netloc}")
        return "", "", gr.Textbox(made, visible=True), usage, self.look()[1]

    def revoke(self, event: gr.EventData) -> tuple[Any, ...]:
        try:
            self.desk.revoke_key(str(event.name))
        except RunnerError as error:
            return (gr.skip(), _sentence(error), *self._nothing(), self.look()[1])
        return (gr.skip(), "", *self._nothing(), self.look()[1])

    @staticmethod
    def _nothing() -> tuple[gr.Textbox, str]:
        return gr.Textbox("", visible=False), ""


def _sentence(error: RunnerError) -> str:
    return chat_view.problem(f"{error.message} {error.hint}".strip())


def build(page: gr.Blocks, rooms: gr.Tabs, desk: Desk) -> None:
    """Lay the tab out where it is being built, and wire it. `rooms`: the tabs that it is one of."""
    gr.Markdown("## Keys for programs\nA program with a key asks the models at /v1 (as OpenAI has it) and /tgi, "
                "through this page's link; it sees no page. People need none: they chat with the link.")  # fmt: skip
    with gr.Row(elem_classes="sr-go"):
        name = gr.Textbox(label="Name of the program", placeholder="notebook", max_lines=1, scale=4, min_width=240,
                          elem_id="access-name")  # fmt: skip
        make = gr.Button("Make a key", variant="primary", scale=1, min_width=140, elem_id="access-make")
    problem = _part("access-problem")
    key = gr.Textbox(label="The new key", interactive=False, visible=False, buttons=["copy"], elem_id="access-key")
    usage = _part("access-usage")
    listed = _part("access-keys", js_on_load=_CLICKS)
    Panel(desk=desk, name=name, make=make, problem=problem, key=key, usage=usage, listed=listed).connect(page, rooms)


def _part(elem_id: str, **more: Any) -> gr.HTML:
    return gr.HTML(elem_id=elem_id, elem_classes="sr-part", apply_default_css=False, **more)

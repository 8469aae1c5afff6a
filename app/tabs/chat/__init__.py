"""The chat tabs, one file each, and what they share. They talk to the core through the playground alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.playground.playground import Playground
from app.tabs.chat import about, alpaca, compare, guanaco, llava, mpt
from app.tabs.chat.compare import ComparePanel
from app.tabs.chat.parameters import Parameters
from app.tabs.chat.shelf import QUIET
from app.tabs.chat.visitor import is_owner
from app.views import chat as chat_view

LOOK_S = 2.0
PARTS = mpt.PARTS  # the tabs inside MPT's


@dataclass(frozen=True, slots=True, kw_only=True)
class Chats:
    """The panels of a page by their tab, the notices above them, the tabs by id. `parts`: the tabs inside MPT's."""

    playground: Playground
    panels: Mapping[str, Sequence[Any]]
    compared: ComparePanel
    notices: Sequence[gr.HTML]
    tabs: Mapping[str, gr.Tab]
    parts: gr.Tabs
    parameters: Sequence[Parameters]

    def connect(self, page: gr.Blocks, *, at_once: bool) -> None:
        """Call it outside of the page's tabs: what has no place on the page would count as one of them.

        Each panel fills itself when its tab is first looked at, which the first tab is when the page is loaded; what is
        known of the models follows the core, which a look at a tab wakes. `at_once`: who comes to the page, comes to
        chat.
        """
        seen = gr.State(())
        # Not a State: the page hears of a State's change from handlers in the queue alone.
        offered = gr.HTML(elem_classes="sr-hidden", apply_default_css=False)

        def look(before: tuple[str, ...], request: gr.Request) -> tuple[Any, ...]:
            now = self._known(is_owner(request))
            told = zip(before or [None] * len(now), now, strict=True)
            models, notice, *speeds = [gr.skip() if old == new else new for old, new in told]
            state = gr.skip() if tuple(before) == now else now
            return (state, models, *[notice] * len(self.notices), *speeds)

        async def wake(before: tuple[str, ...], request: gr.Request) -> tuple[Any, ...]:
            self.playground.core.wake()
            return look(before, request)

        told: list[Any] = [seen, offered, *self.notices, *(each.speed for each in self._timed)]
        page.load(wake if at_once else look, seen, told, queue=False, **QUIET)
        page.load(self.compared.arrive, None, self.compared.arrivals, concurrency_limit=None, **QUIET)
        for key, tab in self.tabs.items():
            tab.select(wake, seen, told, queue=False, **QUIET)
            for panel in self.panels.get(key, ()):
                _fill_once(tab, panel)
        gr.Timer(LOOK_S).tick(look, seen, told, queue=False, **QUIET)
        sliders = [slider for each in self.parameters for slider in each.sliders]
        read = set().union(*(each.read_by_follow for each in self.parameters))
        # As the page has them: it may be told twice, and then what it has is beyond the bounds that it was told first.
        offered.change(self._follow, read, sliders, queue=False, preprocess=False, **QUIET)

    @property
    def _timed(self) -> list[Parameters]:
        """Those that stand beside one model: among them, they have all."""
        return [each for each in self.parameters if each.speed is not None]

    def _known(self, owner: bool) -> tuple[str, ...]:
        """What the models offer, the notice, and how fast each model was."""
        core = self.playground.core
        demo = any(model.demo for model in core.models)
        notice = chat_view.notice(core.phase, core.problem, demo, owner)
        return (self._offered(), notice, *(each.speeds(self.playground) for each in self._timed))

    def _offered(self) -> str:
        """What the core says of the models' parameters, for nobody to see; of unknown ones nothing."""
        models = (self.playground.core.model(each.name) for each in self._timed)
        return chat_view.offered(model for model in models if model)

    def _follow(self, values: dict[Any, Any]) -> list[Any]:
        """The core is known now, or is another one: the sliders stand at its defaults, within its bounds."""
        known = self.playground.core.model
        return [slider for each in self.parameters for slider in each.followed(values, known)]


def _fill_once(tab: gr.Tab, panel: Any) -> None:
    """What is on no tab that was looked at costs a page nothing while it is loaded."""
    looked = gr.State(False)
    outputs = [looked, *panel.arrivals]

    async def look(before: bool, request: gr.Request) -> tuple[Any, ...]:
        return tuple([gr.skip()] * len(outputs)) if before else (True, *await panel.arrive(request))

    tab.select(look, looked, outputs, concurrency_limit=None, **QUIET)


def build(playground: Playground) -> Chats:
    """Add the chat tabs where the tabs of a page are being built."""
    built: dict[str, Any] = {}
    notices: list[gr.HTML] = []
    tabs: dict[str, gr.Tab] = {}
    for module in (guanaco, alpaca, mpt, llava, compare):
        key = module.__name__.rpartition(".")[2]
        with gr.Tab(module.TITLE, id=key) as tabs[key]:
            notices.append(gr.HTML(elem_classes="sr-part sr-notice", apply_default_css=False))
            built[key] = module.build(playground)
            about.build(module.TITLE)
    compared, several = built.pop("compare"), built["mpt"]
    panels = {key: (panel,) for key, panel in built.items()} | {"mpt": (several.chat, several.instruct, several.story)}
    beside = [panel.parameters for each in panels.values() for panel in each]
    parameters = [*beside, *(side.parameters for side in compared.sides)]
    return Chats(playground=playground, panels=panels, compared=compared, notices=notices, tabs=tabs,
                 parts=several.parts, parameters=parameters)  # fmt: skip

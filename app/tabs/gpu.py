"""The tab of the machine: what is on each GPU, memory and load over time, the models, and what would have to go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.desk import Desk
from app.machine import families, room
from app.machine import residents as models
from app.machine.machine import Machine
from app.machine.residents import Resident
from app.machine.room import Held, Kind
from app.machine.values import Card, Reading
from app.playground.core import Phase
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.tabs.told import Told
from app.views import chat as chat_view
from app.views import machine as machine_view
from app.views import residents as residents_view
from spaces_runner.core import service
from spaces_runner.store import opened
from spaces_runner.types import SpaceStatus

TITLE = "GPU"
ID = "gpu"
TICK_S = 2.0
CORE = "The models' server"
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# A click on a button of the table reaches `act` with what the button stands for.
_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const {action, model} = button.dataset;
  trigger('click', {action, model});
});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    problem: gr.HTML
    gpus: gr.HTML
    host: gr.HTML
    models: gr.HTML
    wanted: gr.Number
    answer: gr.HTML
    shown: gr.State
    timer: gr.Timer

    @property
    def live(self) -> list[Any]:
        """What the clock keeps up to date."""
        return [self.gpus, self.host, self.models, self.answer, self.shown]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The machine at one moment, as far as this tab shows it.

    `spaces`: the names of those at work, no two the same, by the process of their app; `core`: that of the models.
    """

    reading: Reading
    spaces: Mapping[int, str]
    core: int | None
    residents: tuple[Resident, ...]
    phase: Phase

    @property
    def roots(self) -> dict[int, str]:
        """Names by process."""
        return {**self.spaces, **({self.core: CORE} if self.core is not None else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    desk: Desk
    playground: Playground
    machine: Machine
    panel: Panel

    def connect(self, page: gr.Blocks, rooms: gr.Tabs) -> None:
        panel, fresh = self.panel, [self.panel.wanted, self.panel.shown]
        rooms.select(self.turn, fresh, [panel.timer, *panel.live], queue=False, **_QUIET)
        page.load(self.arrive, fresh, [panel.timer, *panel.live], queue=False, **_QUIET)
        panel.timer.tick(self.refresh, fresh, panel.live, queue=False, **_QUIET)
        panel.wanted.change(self.refresh, fresh, panel.live, queue=False, trigger_mode="always_last", **_QUIET)
        # By itself Gradio drops a click while an earlier one, on another model's button, is at work.
        acts: dict[str, Any] = {**_QUIET, "concurrency_limit": None, "trigger_mode": "multiple"}
        panel.models.click(self.act, None, panel.problem, **acts).then(
            self.refresh, fresh, panel.live, queue=False, **_QUIET
        )

    async def arrive(self, wanted: float | None, shown: dict[str, str], request: gr.Request) -> tuple[Any, ...]:
        """The clock goes on a page that was opened at this tab."""
        return await self._turned(wanted, shown, here=request.query_params.get("tab") == ID)

    async def turn(self, wanted: float | None, shown: dict[str, str], event: gr.SelectData) -> tuple[Any, ...]:
        """The clock goes while the tab is open, and only then."""
        return await self._turned(wanted, shown, here=event.value == TITLE)

    async def _turned(self, wanted: float | None, shown: dict[str, str], *, here: bool) -> tuple[Any, ...]:
        if not here:
            return (gr.Timer(active=False), *[gr.skip()] * len(self.panel.live))
        self.playground.core.wake()
        return (gr.Timer(active=True), *await self.refresh(wanted, shown))

    async def refresh(self, wanted: float | None, shown: dict[str, str]) -> tuple[Any, ...]:
        seen = await self._look()
        told = Told(shown)
        series = {card.uuid: self.machine.card_over_time(card.uuid) for card in seen.reading.cards}
        gpus = machine_view.gpus(seen.reading, seen.roots, series)
        host = machine_view.host(seen.reading, self.machine.memory_over_time())
        table = residents_view.table(seen.residents, seen.phase)
        answer = would_go(seen, wanted)
        parts = {"gpus": gpus, "host": host, "models": table, "answer": answer}
        sent = [told.changed(name, html, partial(str, html)) for name, html in parts.items()]
        return (*sent, told.now)

    async def act(self, event: gr.EventData) -> str:
        """A button of the table: load a model, let it sleep, or unload it. Returns when that is done."""
        try:
            client = await self.playground.core.client()
            moves = {"load": client.load, "sleep": client.sleep, "unload": client.unload}
            await moves[str(event.action)](str(event.model))
        except PlaygroundError as error:
            return chat_view.problem(error.sentence)
        return ""

    async def _look(self) -> Seen:
        statuses = await asyncio.to_thread(self.desk.spaces)
        reading = await asyncio.to_thread(self.machine.look)
        return Seen(
            reading=reading,
            spaces=named(statuses),
            core=await asyncio.to_thread(_core_pid, self.desk),
            residents=await self._residents(),
            phase=self.playground.core.phase,
        )

    async def _residents(self) -> tuple[Resident, ...]:
        """The models as the core has them. A look starts no core; one that has gone is looked for again."""
        core = self.playground.core
        if core.phase is not Phase.READY:
            return ()
        try:
            return await models.ask(await core.client())
        except (PlaygroundError, ValueError, KeyError):
            core.wake()
            return ()


def _core_pid(desk: Desk) -> int | None:
    run = service.run_of(opened(desk.settings))
    return run.status.pid if run else None


def named(statuses: Iterable[SpaceStatus]) -> dict[int, str]:
    """What Spaces are called whose app runs, by its process: with their id where one of them runs twice."""
    apps = [status for status in statuses if status.pid is not None]
    often = Counter(status.space for status in apps)
    return {
        status.pid: status.space if often[status.space] == 1 else f"{status.space} ({status.id})"
        for status in apps
        if status.pid is not None
    }


def held_by_spaces(seen: Seen, card: Card | None) -> list[Held]:
    """What each Space holds of that GPU, or of the machine's own memory."""
    now = seen.reading
    held: list[Held] = []
    for pid, name in seen.spaces.items():
        usage = families.usage(now, None, pid)
        size = families.on_card(now, card, pid) if card else usage.memory if usage else 0
        held.append(Held(name=name, kind=Kind.SPACE, size=size))
    return held


def would_go(seen: Seen, wanted: float | None) -> str:
    """What would have to go for `wanted` GB more, on the GPU with most memory free, or in the machine's own memory."""
    if not wanted or wanted < 0:
        return ""
    card = max(seen.reading.cards, key=lambda one: one.free, default=None)
    free = card.free if card else seen.reading.memory_free
    where = f"GPU {card.index}'s memory" if card else "this machine's memory"
    device = f"cuda:{card.index}" if card else "cpu"
    held = [*models.held(seen.residents, device), *held_by_spaces(seen, card)]
    needed = int(wanted * 1000**3)
    return machine_view.room(needed, free, where, room.to_go(needed, free, held))


def build(page: gr.Blocks, rooms: gr.Tabs, desk: Desk, playground: Playground, machine: Machine) -> None:
    """Lay the tab out where it is being built, and wire it. `rooms`: the tabs that it is one of."""
    problem = _part("gpu-problem")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            gpus = _part("gpu-cards")
            host = _part("gpu-host")
        with gr.Column(scale=5, min_width=320):
            gr.Markdown("## Models")
            table = _part("gpu-models", js_on_load=_CLICKS)
            gr.Markdown("## What would have to go")
            wanted = gr.Number(None, label="Memory that a launch needs, in GB", minimum=0, step=1, elem_id="gpu-wanted",
                               info="A model of 7 billion weights takes about 14 in 16 bits, 5 in 4 bits")  # fmt: skip
            answer = _part("gpu-answer")
    panel = Panel(
        problem=problem, gpus=gpus, host=host, models=table, wanted=wanted, answer=answer,
        shown=gr.State({}), timer=gr.Timer(TICK_S, active=False),
    )  # fmt: skip
    Wiring(desk=desk, playground=playground, machine=machine, panel=panel).connect(page, rooms)


def _part(elem_id: str, **more: Any) -> gr.HTML:
    return gr.HTML(elem_id=elem_id, elem_classes="sr-part", apply_default_css=False, **more)

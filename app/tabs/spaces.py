"""The tab that runs Spaces: paste, inspect, launch, and what runs. Lays out and wires; the views make the HTML."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.desk import Desk
from app.machine import environments
from app.machine.environments import EnvironmentSize
from app.machine.machine import Machine
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.tabs import launch_form
from app.tabs import logs as log_tab
from app.tabs.launch_form import LaunchForm, Values
from app.tabs.logs import LogPanel, Logs
from app.tabs.overview import Overview
from app.tabs.relaunch import Relaunch
from app.tabs.told import Told
from app.views import chat as chat_view
from app.views import diff as diff_view
from app.views import inspection as inspection_view
from app.views import preview as preview_view
from app.views import problem, timeline
from app.views import sandbox as sandbox_view
from app.views import spaces as spaces_view
from app.views.remedy import Kind
from spaces_runner.errors import RunnerError
from spaces_runner.types import Event, Inspection, SpaceStatus

TICK_S = 1.0
SETTLED_S = 3.0
INSPECT_EVERY_S = 0.3
RECENT = 6
# A click on a button inside the cards reaches `act` with what the button stands for.
_CARD_CLICKS = """
// The cards are made anew while somebody presses a button: the one under the pointer then is another, of the same name.
let pressed = null;
const named = (event) => event.target.closest('button[data-action]');
const same = (one, other) => ['action', 'space', 'name'].every((key) => one.dataset[key] === other.dataset[key]);
element.addEventListener('pointerdown', (event) => { pressed = named(event); });
element.addEventListener('pointerup', (event) => {
  const button = named(event);
  if (button && pressed && button !== pressed && same(button, pressed)) button.click();
  pressed = null;
});
const REMOVAL = 'Remove this Space, its files and its logs from this machine? If it runs, it is stopped first.';
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const {action, space, name} = button.dataset;
  if (action === 'remove' && !confirm(REMOVAL)) return;
  const field = button.parentElement.querySelector('input');
  if (field && !field.value) { field.focus(); return; }
  trigger('click', {action, space: space ?? '', name: name ?? '', value: field?.value ?? ''});
  if (field) field.value = '';
});
"""
_OF_A_SPACE = ("detail", "preview", "steps", "patch")
_DONE = {"stop": "Stopped.", "restart": "Started again.", "remove": "Removed."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What the page shows: of the paste box above, of all Spaces on the left, of the chosen one on the right."""

    sandbox: gr.HTML
    notice: gr.HTML
    card: gr.HTML
    plan_patch: gr.Accordion
    plan_diff: gr.HTML
    cards: gr.HTML
    detail: gr.HTML
    preview: gr.HTML
    steps: gr.HTML
    logs: LogPanel
    chosen: gr.State
    previewed: gr.State  # the Space whose preview was opened
    shown: gr.State

    @property
    def live(self) -> list[Any]:
        """What the clock keeps up to date; `shown` remembers what each of them holds."""
        logs = self.logs
        return [self.cards, self.detail, self.preview, self.steps, logs.column, logs.clock, logs.patch,
                self.chosen, self.shown]  # fmt: skip


def build(page: gr.Blocks, desk: Desk, examples: Path | None, playground: Playground, machine: Machine) -> None:
    """Lay the tab out in `page`, which is being built, and wire it."""
    form = launch_form.build(examples)
    panel = _lay_out()
    again = Relaunch(desk=desk, playground=playground)
    overview = Overview(desk=desk, machine=machine)
    logs = Logs(desk=desk, panel=panel.logs, chosen=panel.chosen)
    wiring = Wiring(desk=desk, form=form, panel=panel, examples=examples, again=again, overview=overview, logs=logs)
    wiring.connect(page)
    logs.connect()


def _lay_out() -> Panel:
    notice = _part("notice")
    card = _part("inspection", js_on_load=_CARD_CLICKS)
    with gr.Accordion("What is changed in its source", open=False, visible=False) as plan_patch:
        plan_diff = _part("plan-patch")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("## Spaces")
            sandbox = _part("sandbox")
            cards = _part("spaces", js_on_load=_CARD_CLICKS)
        with gr.Column(scale=3, min_width=320):
            detail = _part("detail", js_on_load=_CARD_CLICKS)
            preview = _part("preview", js_on_load=_CARD_CLICKS)
            steps = _part("steps")
            logs = log_tab.lay_out(_part)
    return Panel(
        sandbox=sandbox, notice=notice, card=card, plan_patch=plan_patch, plan_diff=plan_diff, cards=cards,
        detail=detail, preview=preview, steps=steps, logs=logs, chosen=gr.State(None),
        previewed=gr.State(None), shown=gr.State({}),
    )  # fmt: skip


def _part(elem_id: str, **more: Any) -> gr.HTML:
    """A piece of the page that a view fills; it takes no room while it is empty."""
    return gr.HTML(elem_id=elem_id, elem_classes="sr-part", apply_default_css=False, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The handlers of the tab. None holds anything of its own: what is known is the store's.

    `turns`: what is asked of one Space is done one after the other.
    """

    desk: Desk
    form: LaunchForm
    panel: Panel
    examples: Path | None
    again: Relaunch
    overview: Overview
    logs: Logs
    turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def connect(self, page: gr.Blocks) -> None:
        form, panel = self.form, self.panel
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        looks, at_once = [panel.chosen, panel.previewed, panel.shown], partial(self.refresh, fresh=True)
        page.load(self.arrive, None, [form.offers, *panel.live], **quiet)
        page.load(self.sandbox, None, panel.sandbox, concurrency_limit=None, **quiet)
        gr.Timer(TICK_S).tick(self.refresh, looks, panel.live, queue=False, **quiet)
        form.offers.click(lambda sample: sample[0], form.offers, form.text, queue=False, **quiet)
        plan = [panel.notice, panel.card, panel.plan_patch, panel.plan_diff, form.options.secret_name]
        for asks in (form.inspect.click, form.text.submit):
            asks(self.inspect, form.inputs, plan, concurrency_limit=4, **quiet)
        cleared = [*plan[:3], panel.chosen, form.options.secret_value, form.options.secrets, form.options.name]
        launched = form.launch.click(self.launch, form.inputs, cleared, **quiet)
        launched.then(at_once, looks, panel.live, queue=False, **quiet)
        launched.then(self.offers, None, form.offers, queue=False, **quiet)
        acted = [panel.notice, panel.chosen, panel.previewed]
        for part in (panel.cards, panel.detail, panel.preview):
            # By itself Gradio drops a click while an earlier one on the same part, of another Space's, is at work.
            clicked = part.click(self.act, None, acted, trigger_mode="multiple", **quiet)
            clicked.then(at_once, looks, panel.live, queue=False, **quiet)
        # In the queue: of a State that a handler outside of it changed, the page hears nothing.
        panel.card.click(self.keep, form.options.secrets, [panel.notice, form.options.secrets], **quiet)

    def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened or loaded again: the Space of its address, or what is at work, is shown."""
        chosen = request.query_params.get("space")
        return (self.offers(), *self.refresh(chosen, None, {}, fresh=True))

    async def sandbox(self) -> str:
        """The badge. Where it has to be tried what keeps Spaces in, that waits until the page stands."""
        found = await asyncio.to_thread(self.desk.known_sandbox)
        if found is None:
            await asyncio.sleep(SETTLED_S)
            found = await asyncio.to_thread(self.desk.sandbox)
        return sandbox_view.render(found)

    def offers(self) -> gr.Dataset:
        """The examples, and what was launched lately."""
        recent = tuple(dict.fromkeys(status.space for status in self.desk.spaces()))[:RECENT]
        return launch_form.offers_update(self.examples, recent)

    async def inspect(self, values: Values) -> AsyncIterator[tuple[Any, ...]]:
        """The plan of a Space; a step list while it is made."""
        try:
            options, _ = self.form.options.read(values)
            heard: list[Event] = []
            work = asyncio.create_task(
                asyncio.to_thread(self.desk.inspect, values[self.form.text], options, heard.append)
            )
            while not work.done():
                steps = timeline.render(timeline.Timeline().after(heard), time.time())
                yield (steps or '<p class="sr-quiet">Looking…</p>', "", gr.Accordion(visible=False), "", gr.skip())
                await asyncio.wait({work}, timeout=INSPECT_EVERY_S)
            found = work.result()
            yield _plan(found, await asyncio.to_thread(environments.measure, found, self.desk.settings))
        except RunnerError as error:
            yield problem.render(error.info), "", gr.Accordion(visible=False), "", gr.skip()

    async def launch(self, values: Values) -> AsyncIterator[tuple[Any, ...]]:
        """Start a Space and show it."""
        unchanged = [gr.skip()] * 6
        try:
            options, secrets = self.form.options.read(values)
            name = self.form.options.named(values)
            if options.model:
                yield '<p class="sr-quiet" role="status">Starting the models\' server…</p>', *unchanged
            status = await asyncio.to_thread(self.desk.launch, values[self.form.text], options, secrets, name)
        except RunnerError as error:
            yield problem.render(error.info), *unchanged
            return
        yield "", "", gr.Accordion(visible=False), status.id, "", {}, ""

    async def act(self, event: gr.EventData) -> tuple[Any, Any, Any]:
        """A button of a card: show, preview, stop, restart or remove its Space."""
        action, space_id = str(event.action), str(event.space)
        match action:
            case "show":
                return "", space_id, gr.skip()
            case "preview":
                return "", space_id, space_id
            case "close":
                return "", gr.skip(), None
        async with self.turns[space_id]:  # who presses Restart and then Stop wants it stopped
            if action in list(Kind):
                return (*await self._relaunched(Kind(action), space_id, str(event.name), str(event.value)), gr.skip())
            return (*await self._done(action, space_id), gr.skip())

    async def _done(self, action: str, space_id: str) -> tuple[Any, Any]:
        """Stop, restart or remove a Space. Returns when that is done."""
        call: Callable[[str], object] = {
            "stop": self.desk.stop, "restart": self.desk.restart, "remove": self.desk.remove,
        }[action]  # fmt: skip
        try:
            await asyncio.to_thread(call, space_id)
        except RunnerError as error:
            return problem.render(error.info), gr.skip()
        gr.Info(_DONE[action], duration=3)
        return "", space_id if action == "restart" else gr.skip()

    async def _relaunched(self, kind: Kind, space_id: str, name: str, value: str) -> tuple[Any, Any]:
        """The remedy of a failure, and the Space with it."""
        try:
            begun = await self.again.apply(kind, space_id, name, value)
        except RunnerError as error:
            return problem.render(error.info), gr.skip()
        except PlaygroundError as error:
            return chat_view.problem(error.sentence), gr.skip()
        gr.Info("Started again.", duration=3)
        return "", begun

    def keep(self, secrets: launch_form.Secrets, event: gr.EventData) -> tuple[Any, Any]:
        """A secret that was given in the plan's card goes with the launch."""
        try:
            return "", launch_form.with_secret(str(event.name), str(event.value), secrets)
        except RunnerError as error:
            return problem.render(error.info), gr.skip()

    def refresh(
        self, chosen: str | None, previewed: str | None, shown: dict[str, str], *, fresh: bool = False
    ) -> tuple[Any, ...]:
        """What changed since the page was last told. One look at the store, a few at files; nothing is waited for."""
        now = time.time()
        told = Told(before=shown)
        try:
            seen = self.overview.look(fresh=fresh)
            current = _current(seen.statuses, chosen)
            parts = self._parts(current, told, now, previewed)
        except RunnerError as error:  # removed meanwhile, or the state cannot be read: the next look will tell
            info = error.info
            failed = told.changed("cards", info, lambda: problem.render(info))
            return (failed, *[gr.skip()] * (len(self.panel.live) - 2), {**shown, **told.now})
        found = current.id if current else None
        cards = told.changed(
            "cards",
            (seen.statuses, found, seen.used),
            lambda: spaces_view.render(seen.statuses, found, now, seen.used),
        )
        # What is as it was is not set again: a person may have chosen another Space meanwhile.
        return (
            cards,
            *parts,
            found if found != chosen else gr.skip(),
            told.now if told.now != shown else gr.skip(),
        )

    def _parts(self, current: SpaceStatus | None, told: Told, now: float, previewed: str | None) -> tuple[Any, ...]:
        """Of the chosen Space, and whether and how often its logs are looked at."""
        there, every = current is not None, self.logs.every()
        column = told.changed("logs", there, lambda: gr.Column(visible=there))
        clock = told.changed("clock", (there, every), lambda: gr.Timer(every, active=there))
        if current is None:
            detail, preview, steps, patch = (told.changed(name, None, str) for name in _OF_A_SPACE)
            return detail, preview, steps, column, clock, patch
        framed = preview_view.part(current) if current.id == previewed and preview_view.possible(current) else ""
        made, diff = self.desk.timeline(current.id), self.desk.diff(current.id)
        return (
            told.changed("detail", current, lambda: spaces_view.detail(current, now)),
            told.changed("preview", framed, lambda: framed),
            told.changed("steps", (current.id, made), lambda: timeline.render(made, now)),
            column,
            clock,
            told.changed("patch", (current.id, diff), lambda: diff_view.render(diff)),
        )


def _current(statuses: tuple[SpaceStatus, ...], chosen: str | None) -> SpaceStatus | None:
    """The Space that was chosen; where it is gone or none was, the first one, which is at work if any is."""
    return next((status for status in statuses if status.id == chosen), statuses[0] if statuses else None)


def _plan(inspection: Inspection, environment: EnvironmentSize) -> tuple[Any, ...]:
    shown = diff_view.render(inspection.patch.diff)
    count = len(inspection.patch.files)
    files = "1 file" if count == 1 else f"{count} files"
    label = f"What is changed in its source: {files}" if count else "What is changed in its source: nothing"
    card = inspection_view.render(inspection, environment)
    return "", card, gr.Accordion(label=label, visible=True), shown, gr.Dropdown(choices=list(inspection.spec.secrets))

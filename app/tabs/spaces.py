"""The tab that runs Spaces: paste, inspect, launch, and what runs. Lays out and wires; the views make the HTML."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.desk import Desk
from app.tabs import launch_form
from app.tabs.launch_form import LaunchForm, Values
from app.tabs.told import Told
from app.views import diff as diff_view
from app.views import inspection as inspection_view
from app.views import log as log_view
from app.views import problem, timeline
from app.views import spaces as spaces_view
from spaces_runner.errors import RunnerError
from spaces_runner.types import Event, Inspection, SpaceStatus

TICK_S = 1.0
INSPECT_EVERY_S = 0.3
RECENT = 6
LOG_HEIGHT = 420
# A click on a button inside the cards reaches `act` with what the button stands for.
_CARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const {action, space} = button.dataset;
  if (action === 'remove' && !confirm('Remove this Space, its files and its logs from this machine?')) return;
  trigger('click', {action, space});
});
"""
_DONE = {"stop": "Stopped.", "restart": "Started again.", "remove": "Removed."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What the page shows: of the paste box above, of all Spaces on the left, of the chosen one on the right."""

    notice: gr.HTML
    card: gr.HTML
    plan_patch: gr.Accordion
    plan_diff: gr.HTML
    cards: gr.HTML
    detail: gr.HTML
    steps: gr.HTML
    logs: gr.Tabs
    run_log: gr.HTML
    build_log: gr.HTML
    patch: gr.HTML
    chosen: gr.State
    shown: gr.State

    @property
    def live(self) -> list[Any]:
        """What the clock keeps up to date; `shown` remembers what each of them holds."""
        return [self.cards, self.detail, self.steps, self.logs, self.run_log, self.build_log, self.patch,
                self.chosen, self.shown]  # fmt: skip


def build(page: gr.Blocks, desk: Desk, examples: Path | None) -> None:
    """Lay the tab out in `page`, which is being built, and wire it."""
    form = launch_form.build(examples)
    panel = _lay_out()
    Wiring(desk=desk, form=form, panel=panel, examples=examples).connect(page)


def _lay_out() -> Panel:
    notice = _part("notice")
    card = _part("inspection")
    with gr.Accordion("What is changed in its source", open=False, visible=False) as plan_patch:
        plan_diff = _part("plan-patch")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("## Spaces")
            cards = _part("spaces", js_on_load=_CARD_CLICKS)
        with gr.Column(scale=3, min_width=320):
            detail = _part("detail")
            steps = _part("steps")
            with gr.Tabs(visible=False) as logs:
                with gr.Tab("Run log"):
                    run_log = _part("run-log", max_height=LOG_HEIGHT)
                with gr.Tab("Build log"):
                    build_log = _part("build-log", max_height=LOG_HEIGHT)
                with gr.Tab("Patch"):
                    patch = _part("patch", max_height=LOG_HEIGHT)
    return Panel(
        notice=notice, card=card, plan_patch=plan_patch, plan_diff=plan_diff, cards=cards, detail=detail, steps=steps,
        logs=logs, run_log=run_log, build_log=build_log, patch=patch, chosen=gr.State(None), shown=gr.State({}),
    )  # fmt: skip


def _part(elem_id: str, **more: Any) -> gr.HTML:
    """A piece of the page that a view fills; it takes no room while it is empty."""
    return gr.HTML(elem_id=elem_id, elem_classes="sr-part", apply_default_css=False, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The handlers of the tab. None holds anything of its own: what is known is the store's."""

    desk: Desk
    form: LaunchForm
    panel: Panel
    examples: Path | None

    def connect(self, page: gr.Blocks) -> None:
        form, panel = self.form, self.panel
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        page.load(self.arrive, None, [form.offers, *panel.live], **quiet)
        gr.Timer(TICK_S).tick(self.refresh, [panel.chosen, panel.shown], panel.live, queue=False, **quiet)
        form.offers.click(lambda sample: sample[0], form.offers, form.text, queue=False, **quiet)
        plan = [panel.notice, panel.card, panel.plan_patch, panel.plan_diff, form.options.secret_name]
        for asks in (form.inspect.click, form.text.submit):
            asks(self.inspect, form.inputs, plan, concurrency_limit=4, **quiet)
        cleared = [*plan[:3], panel.chosen, form.options.secret_value, form.options.secrets]
        form.launch.click(self.launch, form.inputs, cleared, **quiet).then(
            self.refresh, [panel.chosen, panel.shown], panel.live, queue=False, **quiet
        )
        panel.cards.click(self.act, panel.chosen, [panel.notice, panel.chosen], **quiet).then(
            self.refresh, [panel.chosen, panel.shown], panel.live, queue=False, **quiet
        )

    def arrive(self, request: gr.Request) -> tuple[Any, ...]:
        """A page was opened or loaded again: the Space of its address, or what is at work, is shown."""
        recent = tuple(dict.fromkeys(status.space for status in self.desk.spaces()))[:RECENT]
        chosen = request.query_params.get("space")
        return (launch_form.offers_update(self.examples, recent), *self.refresh(chosen, {}))

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
            yield _plan(work.result())
        except RunnerError as error:
            yield problem.render(error.info), "", gr.Accordion(visible=False), "", gr.skip()

    async def launch(self, values: Values) -> tuple[Any, ...]:
        """Start a Space and show it."""
        try:
            options, secrets = self.form.options.read(values)
            status = await asyncio.to_thread(self.desk.launch, values[self.form.text], options, secrets)
        except RunnerError as error:
            return problem.render(error.info), *[gr.skip()] * 5
        return "", "", gr.Accordion(visible=False), status.id, "", {}

    async def act(self, chosen: str | None, event: gr.EventData) -> tuple[Any, Any]:
        """A button of a card: show, stop, restart or remove its Space."""
        action, space_id = str(event.action), str(event.space)
        if action == "show":
            return "", space_id
        call: Callable[[str], object] = {
            "stop": self.desk.stop, "restart": self.desk.restart, "remove": self.desk.remove,
        }[action]  # fmt: skip
        try:
            await asyncio.to_thread(call, space_id)
        except RunnerError as error:
            return problem.render(error.info), gr.skip()
        gr.Info(_DONE[action], duration=3)
        return "", space_id if action == "restart" else gr.skip()

    def refresh(self, chosen: str | None, shown: dict[str, str]) -> tuple[Any, ...]:
        """What changed since the page was last told. One look at the store, a few at files; nothing is waited for."""
        now = time.time()
        told = Told(before=shown)
        try:
            statuses = self.desk.spaces()
            current = _current(statuses, chosen)
            parts = self._parts(current, told, now)
        except RunnerError as error:  # removed meanwhile, or the state cannot be read: the next look will tell
            info = error.info
            failed = told.changed("cards", info, lambda: problem.render(info))
            return (failed, *[gr.skip()] * (len(self.panel.live) - 2), {**shown, **told.now})
        chosen = current.id if current else None
        cards = told.changed("cards", (statuses, chosen), lambda: spaces_view.render(statuses, chosen, now))
        return (cards, *parts, chosen, told.now if told.now != shown else gr.skip())

    def _parts(self, current: SpaceStatus | None, told: Told, now: float) -> tuple[Any, ...]:
        if current is None:
            nothing = [told.changed(name, None, lambda: "") for name in ("detail", "steps", "run", "build", "patch")]
            return (*nothing[:2], told.changed("logs", None, lambda: gr.Tabs(visible=False)), *nothing[2:])
        steps = self.desk.timeline(current.id)
        logs = {which: self.desk.log(current.id, which) for which in ("run", "build")}
        patch = self.desk.diff(current.id)
        return (
            told.changed("detail", current, lambda: spaces_view.detail(current, now)),
            told.changed("steps", (current.id, steps), lambda: timeline.render(steps, now)),
            told.changed("logs", True, lambda: gr.Tabs(visible=True)),
            told.changed("run", (current.id, logs["run"]), lambda: log_view.render(logs["run"], "Run log")),
            told.changed("build", (current.id, logs["build"]), lambda: log_view.render(logs["build"], "Build log")),
            told.changed("patch", (current.id, patch), lambda: diff_view.render(patch)),
        )


def _current(statuses: tuple[SpaceStatus, ...], chosen: str | None) -> SpaceStatus | None:
    """The Space that was chosen; where it is gone or none was, the first one, which is at work if any is."""
    return next((status for status in statuses if status.id == chosen), statuses[0] if statuses else None)


def _plan(inspection: Inspection) -> tuple[Any, ...]:
    shown = diff_view.render(inspection.patch.diff)
    count = len(inspection.patch.files)
    files = "1 file" if count == 1 else f"{count} files"
    label = f"What is changed in its source: {files}" if count else "What is changed in its source: nothing"
    card = inspection_view.render(inspection)
    return "", card, gr.Accordion(label=label, visible=True), shown, gr.Dropdown(choices=list(inspection.spec.secrets))

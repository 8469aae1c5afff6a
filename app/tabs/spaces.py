"""The tab that runs Spaces: paste, inspect, launch, and what runs. Lays out and wires; the views make the HTML."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.desk import LOG_LINES, Desk
from app.machine.machine import Machine
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.tabs import launch_form
from app.tabs.launch_form import LaunchForm, Values
from app.tabs.relaunch import Relaunch
from app.tabs.told import Told
from app.views import chat as chat_view
from app.views import diff as diff_view
from app.views import inspection as inspection_view
from app.views import log as log_view
from app.views import problem, timeline
from app.views import spaces as spaces_view
from app.views.remedy import Kind
from spaces_runner.errors import RunnerError
from spaces_runner.types import Event, Inspection, SpaceStatus

TICK_S = 1.0
INSPECT_EVERY_S = 0.3
RECENT = 6
LOG_HEIGHT = 420
SEARCHED = 5_000  # lines of a log, the newest
SAVED = 50_000
# A click on a button inside the cards reaches `act` with what the button stands for.
_CARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  const {action, space, name} = button.dataset;
  if (action === 'remove' && !confirm('Remove this Space, its files and its logs from this machine?')) return;
  const field = button.parentElement.querySelector('input');
  if (field && !field.value) { field.focus(); return; }
  trigger('click', {action, space: space ?? '', name: name ?? '', value: field?.value ?? ''});
  if (field) field.value = '';
});
"""
# The name of the log and its text, as a file of the browser's own.
_SAVE = """(name, text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/plain'}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return [];
}"""
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
    logs: gr.Column
    run_log: gr.HTML
    build_log: gr.HTML
    patch: gr.HTML
    search: gr.Textbox
    save: dict[str, gr.Button]
    file: tuple[gr.Textbox, gr.Textbox]
    chosen: gr.State
    shown: gr.State

    @property
    def live(self) -> list[Any]:
        """What the clock keeps up to date; `shown` remembers what each of them holds."""
        return [self.cards, self.detail, self.steps, self.logs, self.run_log, self.build_log, self.patch,
                self.chosen, self.shown]  # fmt: skip


def build(page: gr.Blocks, desk: Desk, examples: Path | None, playground: Playground, machine: Machine) -> None:
    """Lay the tab out in `page`, which is being built, and wire it."""
    form = launch_form.build(examples)
    panel = _lay_out()
    again = Relaunch(desk=desk, playground=playground)
    Wiring(desk=desk, form=form, panel=panel, examples=examples, again=again, machine=machine).connect(page)


def _lay_out() -> Panel:
    notice = _part("notice")
    card = _part("inspection", js_on_load=_CARD_CLICKS)
    with gr.Accordion("What is changed in its source", open=False, visible=False) as plan_patch:
        plan_diff = _part("plan-patch")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("## Spaces")
            cards = _part("spaces", js_on_load=_CARD_CLICKS)
        with gr.Column(scale=3, min_width=320):
            detail = _part("detail", js_on_load=_CARD_CLICKS)
            steps = _part("steps")
            with gr.Column(visible=False) as logs:
                with gr.Tabs():
                    with gr.Tab("Run log"):
                        run_log = _part("run-log", max_height=LOG_HEIGHT)
                    with gr.Tab("Build log"):
                        build_log = _part("build-log", max_height=LOG_HEIGHT)
                    with gr.Tab("Patch"):
                        patch = _part("patch", max_height=LOG_HEIGHT)
                search, save, file = _log_tools()
    return Panel(
        notice=notice, card=card, plan_patch=plan_patch, plan_diff=plan_diff, cards=cards, detail=detail, steps=steps,
        logs=logs, run_log=run_log, build_log=build_log, patch=patch, search=search, save=save, file=file,
        chosen=gr.State(None), shown=gr.State({}),
    )  # fmt: skip


def _log_tools() -> tuple[gr.Textbox, dict[str, gr.Button], tuple[gr.Textbox, gr.Textbox]]:
    """The search in the logs, a button to save each, and where a log waits for the browser to take it."""
    with gr.Row(equal_height=True, elem_classes="sr-tools"):
        search = gr.Textbox(label="Search the logs", placeholder="Words of a line", max_lines=1, min_width=180,
                            elem_id="log-search")  # fmt: skip
        save = {
            which: gr.Button(f"Save the {which} log", size="sm", min_width=130, scale=0, elem_classes="sr-add")
            for which in ("run", "build")
        }
    file = (gr.Textbox(visible="hidden", label="Name of the log"), gr.Textbox(visible="hidden", label="Log"))
    return search, save, file


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
    again: Relaunch
    machine: Machine

    def connect(self, page: gr.Blocks) -> None:
        form, panel = self.form, self.panel
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        looks = [panel.chosen, panel.shown, panel.search]
        page.load(self.arrive, None, [form.offers, *panel.live], **quiet)
        gr.Timer(TICK_S).tick(self.refresh, looks, panel.live, queue=False, **quiet)
        form.offers.click(lambda sample: sample[0], form.offers, form.text, queue=False, **quiet)
        plan = [panel.notice, panel.card, panel.plan_patch, panel.plan_diff, form.options.secret_name]
        for asks in (form.inspect.click, form.text.submit):
            asks(self.inspect, form.inputs, plan, concurrency_limit=4, **quiet)
        cleared = [*plan[:3], panel.chosen, form.options.secret_value, form.options.secrets]
        form.launch.click(self.launch, form.inputs, cleared, **quiet).then(
            self.refresh, looks, panel.live, queue=False, **quiet
        )
        for part in (panel.cards, panel.detail):
            part.click(self.act, panel.chosen, [panel.notice, panel.chosen], **quiet).then(
                self.refresh, looks, panel.live, queue=False, **quiet
            )
        panel.card.click(self.keep, form.options.secrets, [panel.notice, form.options.secrets], queue=False, **quiet)
        panel.search.change(self.refresh, looks, panel.live, queue=False, trigger_mode="always_last", **quiet)
        for which, button in panel.save.items():
            button.click(partial(self.log_file, which), panel.chosen, list(panel.file), **quiet).then(
                None, list(panel.file), None, js=_SAVE, **quiet
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
        if action in list(Kind):
            return await self._relaunched(Kind(action), space_id, str(event.name), str(event.value))
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

    def log_file(self, which: str, chosen: str | None) -> tuple[str, str]:
        """The name and the text of a whole log, as far as it is kept."""
        if chosen is None:
            return f"{which}.log", ""
        return f"{chosen}-{which}.log", "\n".join(self.desk.log(chosen, which, SAVED)) + "\n"

    def refresh(self, chosen: str | None, shown: dict[str, str], words: str = "") -> tuple[Any, ...]:
        """What changed since the page was last told. One look at the store, a few at files; nothing is waited for."""
        now = time.time()
        told = Told(before=shown)
        try:
            statuses = self.desk.spaces()
            current = _current(statuses, chosen)
            parts = self._parts(current, told, now, words or "")
        except RunnerError as error:  # removed meanwhile, or the state cannot be read: the next look will tell
            info = error.info
            failed = told.changed("cards", info, lambda: problem.render(info))
            return (failed, *[gr.skip()] * (len(self.panel.live) - 2), {**shown, **told.now})
        chosen = current.id if current else None
        used = self._used(statuses)
        cards = told.changed("cards", (statuses, chosen, used), lambda: spaces_view.render(statuses, chosen, now, used))
        return (cards, *parts, chosen, told.now if told.now != shown else gr.skip())

    def _used(self, statuses: tuple[SpaceStatus, ...]) -> dict[str, str]:
        """What each Space whose app runs takes of the machine."""
        apps = {status.id: status.pid for status in statuses if status.pid is not None}
        if not apps:
            return {}
        self.machine.look()
        found = {space: self.machine.usage(pid) for space, pid in apps.items()}
        return {space: spaces_view.usage(usage) for space, usage in found.items() if usage}

    def _log(self, space_id: str, which: str, words: str) -> Sequence[str]:
        if not words.strip():
            return self.desk.log(space_id, which)
        return log_view.matching(self.desk.log(space_id, which, SEARCHED), words)[-LOG_LINES:]

    def _parts(self, current: SpaceStatus | None, told: Told, now: float, words: str) -> tuple[Any, ...]:
        if current is None:
            nothing = [told.changed(name, None, lambda: "") for name in ("detail", "steps", "run", "build", "patch")]
            return (*nothing[:2], told.changed("logs", None, lambda: gr.Column(visible=False)), *nothing[2:])
        steps = self.desk.timeline(current.id)
        logs = {which: self._log(current.id, which, words) for which in ("run", "build")}
        patch = self.desk.diff(current.id)
        return (
            told.changed("detail", current, lambda: spaces_view.detail(current, now)),
            told.changed("steps", (current.id, steps), lambda: timeline.render(steps, now)),
            told.changed("logs", True, lambda: gr.Column(visible=True)),
            told.changed(
                "run", (current.id, logs["run"], words), lambda: log_view.render(logs["run"], "Run log", words)
            ),
            told.changed(
                "build", (current.id, logs["build"], words), lambda: log_view.render(logs["build"], "Build log", words)
            ),
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

"""Conversations as HTML: the list of them, what stands under an answer, what is to be known of the models. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.inference.types import Loading, Queued, Started
from app.playground.client import Model
from app.playground.core import Phase
from app.playground.speeds import Speed
from app.playground.talk import Answer, Conversation, Heading, State
from app.views.text import escape, since

_ENDS = {
    State.STOPPED: "Stopped",
    State.INTERRUPTED: "Interrupted: the page was closed, or the server ended",
    State.FAILED: "Failed",
}
DEMO = "demo weights"


def footnote(answer: Answer, waiting: str = "") -> str:
    """The line under an answer: how far it came and how fast, or what it waits for."""
    parts = [waiting or "Writing…"] if answer.state is State.RUNNING else [_ENDS.get(answer.state, "")]
    if answer.generated_tokens:
        parts.append(_count(answer.generated_tokens, "token"))
        parts.append(f"{answer.tokens_per_s:.1f} tokens/s" if answer.tokens_per_s else "")
        parts.append(f"{_count(answer.prompt_tokens, 'token')} read")
    parts.append(device(answer.device) if answer.generated_tokens or answer.state is State.DONE else "")
    parts.append("cut off: it reached its longest length" if answer.cut else "")
    if answer.forgotten:
        parts.append(f"without the oldest {_count(answer.forgotten, 'question')}, which no longer fitted")
    parts.append(DEMO if answer.demo else "")
    text = " · ".join(escape(part) for part in parts if part)
    return f'<span class="sr-foot">{text}</span>'


def failure(answer: Answer) -> str:
    """Why there is no answer, as Markdown in its place."""
    return f"⚠️ {answer.note}" if answer.state is State.FAILED and answer.note else ""


def waiting(phase: Phase, stage: Loading | Queued | Started | None, begun: bool) -> str:
    """What an answer waits for, before and after its first word."""
    match stage:
        case _ if begun:
            return "Writing…"
        case Loading(what=what, fraction=fraction, position=position):
            return f"Loading the model: {what}, {fraction:.0%}" + (f" ({position} before you)" if position else "")
        case Queued(position=position) if position:
            return f"Waiting: {position} before you"
        case Started():
            return "Reading…"
        case None if phase is Phase.STARTING:
            return "Starting the models' server…"
    return "Waiting for its turn…"


def device(name: str) -> str:
    """cpu and cuda:0 as people call them."""
    kind, _, number = name.partition(":")
    known = {"cpu": "CPU", "cuda": f"GPU {number or 0}"}
    return known.get(kind, name)


def speeds(known: Sequence[Speed], here: str) -> str:
    """How fast a model was, on what it runs on now and on what it ran on before."""
    ordered = sorted(known, key=lambda speed: speed.device != here)
    parts = [
        f"<b>{speed.rate:.1f} tokens/s</b> {'here, on' if speed.device == here else 'on'} {escape(speed.device)}"
        for speed in ordered
    ]
    return f'<p class="sr-quiet">Speed so far: {"; ".join(parts)}</p>' if parts else ""


def listing(
    headings: Iterable[Heading],
    chosen: Conversation | None,
    now: float,
    searched: bool,
    files: Mapping[str, str] | None = None,
) -> str:
    """The conversations as a list of buttons, and what can be done with the one that is open.

    `files`: the conversations that the open one is saved as, by what each is called; itself alone where none are said.
    """
    saved = files or ({"": chosen.id} if chosen else {})
    rows = "".join(_row(each, chosen is not None and each.id == chosen.id, now, saved) for each in headings)
    if not rows:
        return f'<p class="sr-quiet">{"Nothing found." if searched else "No conversation yet."}</p>'
    return f'<ul class="sr-talks" aria-label="Conversations">{rows}</ul>'


def _row(heading: Heading, current: bool, now: float, files: Mapping[str, str]) -> str:
    name = escape(heading.title or "Untitled")
    mark = ' aria-current="true"' if current else ""
    actions = _actions(heading, files) if current else ""
    return (
        f'<li class="sr-talk"{mark}><button class="sr-name" {_data("open", heading)}>{name}</button>'
        f'<span class="sr-quiet">{since(heading.updated, now)} ago</span>{actions}</li>'
    )


def _actions(heading: Heading, files: Mapping[str, str]) -> str:
    name = escape(heading.title or "Untitled")
    buttons = "".join(
        f'<button class="sr-button" aria-label="{label} {name}" {_data(action, heading)}>{label}</button>'
        for action, label in (("rename", "Rename"), ("delete", "Delete"))
    )
    links = "".join(_link(part, talk, kind, name) for part, talk in files.items() for kind in ("md", "json"))
    return f'<div class="sr-actions">{buttons}{links}</div>'


def _link(part: str, talk: str, kind: str, name: str) -> str:
    """`part`: which half of a comparison it is, "" where it is a whole conversation."""
    label = {"md": "Markdown", "json": "JSON"}[kind]
    shown, said = (f"{part}: {label}", f"{part} of {name}") if part else (label, name)
    return (
        f'<a class="sr-button" href="/conversations/{escape(talk)}.{kind}" download '
        f'aria-label="Save {said} as {label}">{shown}</a>'
    )


def _data(action: str, heading: Heading) -> str:
    return f'data-action="{action}" data-talk="{escape(heading.id)}" data-title="{escape(heading.title)}"'


def notice(phase: Phase, problem: str, demo: bool, owner: bool) -> str:
    """What is to be known before one writes: no models, or small ones."""
    if phase is Phase.AWAY:
        said = escape(problem) if owner else "The owner of this page can start them again."
        return (
            f'<section class="sr-problem" role="alert"><p><b>The models are not there.</b></p><p>{said}</p></section>'
        )
    if not demo:
        return ""
    remedy = (
        "For the real models, on a GPU with 16 GB or more: <code>spaces-runner core stop</code>, then "
        "<code>spaces-runner core start --preset 4bit</code>."
        if owner
        else ""
    )
    return (
        '<p class="sr-demo"><b>Demo weights.</b> These are tiny models that show how everything works. '
        f"They know little and are often wrong. {remedy}</p>"
    )


def offered(models: Iterable[Model]) -> str:
    """What decides where the sliders may stand, without a look: a page follows it when it changes."""
    said = [(model.name, model.context, sorted(model.defaults.items())) for model in models]
    return f'<i hidden data-offered="{escape(str(said))}"></i>' if said else ""


def problem(sentence: str) -> str:
    """What a person did that cannot be done."""
    return f'<section class="sr-problem" role="alert"><p>{escape(sentence)}</p></section>' if sentence else ""


def remark(sentence: str) -> str:
    """What is good to know of what was just done."""
    return f'<p class="sr-quiet" role="status">{escape(sentence)}</p>' if sentence else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""The Spaces of this machine as cards, and one of them in detail. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from app.machine.values import Usage
from app.views import preview, problem, remedy
from app.views.text import STEP_TITLES, badge, epoch, escape, findings, link, since
from spaces_runner.format import duration, size
from spaces_runner.types import ErrorInfo, Finding, SpaceStatus, Stage


def render(
    statuses: Iterable[SpaceStatus], selected: str | None, now: float, used: Mapping[str, str] | None = None
) -> str:
    """A card for each Space. Its buttons carry `data-action` and `data-space` for the page's handler.

    `used`: what each takes of the machine, in words, by id.
    """
    known = used or {}
    cards = "".join(_card(status, status.id == selected, now, known.get(status.id, "")) for status in statuses)
    if not cards:
        return '<p class="sr-quiet">No Space yet. Paste one above and press Launch.</p>'
    return f'<ul class="sr-spaces" aria-label="Spaces">{cards}</ul>'


def usage(used: Usage) -> str:
    """What a Space takes, in words that change no more often than a person would care."""
    gpu = f", {size(used.gpu)} of the GPU" if used.gpu is not None else ""
    return f"{used.cpu:.1f} processors, {size(round(used.memory, -7))} memory{gpu}"


def _card(status: SpaceStatus, selected: bool, now: float, used: str) -> str:
    taken = f'<p class="sr-quiet sr-usage">{escape(used)}</p>' if used else ""
    chosen = ' aria-current="true"' if selected else ""
    links = "".join((link(status.local_url, "Local"), link(status.share_url, "Public")))
    return (
        f'<li class="sr-card sr-space" data-space="{escape(status.id)}"{chosen}>'
        f'<div class="sr-head"><button class="sr-name" data-action="show" data-space="{escape(status.id)}"'
        f' title="Show its steps and logs">{escape(status.space)}</button>{badge(status.stage)}</div>'
        f'<p class="sr-quiet">{_about(status, now)}</p>{taken}'
        f'<div class="sr-links">{links}</div><div class="sr-actions">{_actions(status)}</div></li>'
    )


def _about(status: SpaceStatus, now: float) -> str:
    parts = [escape(status.id)]
    if status.revision:
        parts.append(escape(status.revision[:12]))
    if status.gpu:
        parts.append(f"GPU {escape(status.gpu)}")
    if status.restarts:
        parts.append(f"{status.restarts} restarts")
    parts.append(_times(status, now))
    return " · ".join(part for part in parts if part)


def _times(status: SpaceStatus, now: float) -> str:
    begun, ready, ended = epoch(status.started_at), epoch(status.ready_at), epoch(status.ended_at)
    if status.stage is Stage.RUNNING and ready:
        return f"up {since(ready, now)}"
    if status.stage.active and begun:
        step = f"{STEP_TITLES[status.step].lower()}, " if status.step else ""
        return f"{step}{since(begun, now)}"
    if ended:
        return f"ended {since(ended, now)} ago" + (f" after {duration(ended - begun)}" if begun else "")
    return ""


def _actions(status: SpaceStatus) -> str:
    known = [("show", "Logs")]
    if preview.possible(status):
        known += [("preview", "Preview")]
    if status.stage.active:
        known += [("restart", "Restart"), ("stop", "Stop"), ("remove", "Remove")]
    else:
        known += [("restart", "Start again"), ("remove", "Remove")]
    return "".join(_button(status, action, label) for action, label in known)


def _button(status: SpaceStatus, action: str, label: str) -> str:
    return (
        f'<button class="sr-button" data-action="{action}" data-space="{escape(status.id)}" '
        f'aria-label="{label} {escape(status.space)}">{label}</button>'
    )


def detail(status: SpaceStatus, now: float) -> str:
    """The head of one Space's panel: its stage, its links, what failed and what was found."""
    error = (problem.render(status.error) if status.error else "") + remedy.render(status)
    links = "".join((link(status.local_url, "Local link"), link(status.share_url, "Public link")))
    return (
        f'<section class="sr-detail" data-space="{escape(status.id)}" data-stage="{status.stage.value}">'
        f"<h3>{escape(status.space)} {badge(status.stage)}</h3>"
        f'<p class="sr-quiet">{_about(status, now)}</p><div class="sr-links">{links}</div>{error}'
        f"{findings(map(partial(_once, status.error), status.findings))}</section>"
    )


def _once(error: ErrorInfo | None, finding: Finding) -> Finding:
    """A finding without what the error above it says already: it is often where the error has it from."""
    if error is None or not error.hint or finding.remedy != error.hint:
        return finding
    return replace(finding, remedy="", lines=() if finding.lines == error.lines else finding.lines)

"""The core's models as a table, with what can be done with each. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.machine.residents import Resident
from app.playground.core import Phase
from app.views.chat import DEMO, device
from app.views.text import escape
from spaces_runner.format import size

_STATES = {
    "absent": "not loaded",
    "loading": "loading",
    "resident": "in memory",
    "asleep": "asleep",
    "remote": "elsewhere",
    "failed": "failed",
}
_CAN = {
    "absent": ("load",),
    "failed": ("load",),
    "asleep": ("load", "unload"),
    "resident": ("sleep", "unload"),
}
_LABELS = {"load": "Load", "sleep": "Sleep", "unload": "Unload"}


def table(residents: Iterable[Resident], phase: Phase) -> str:
    """One row for each model. Its buttons carry `data-action` and `data-model` for the page's handler."""
    rows = "".join(_row(one) for one in residents)
    if not rows:
        return f'<p class="sr-quiet">{_WAITING.get(phase, "No models are on offer.")}</p>'
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Model", "State", "Weights", "Memory for chats"))
    return (
        '<div class="sr-scroll"><table class="sr-table"><caption class="sr-hidden">Models</caption><thead><tr>'
        f'{heads}<th scope="col"><span class="sr-hidden">What can be done</span></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


_WAITING = {
    Phase.ASLEEP: "The models' server is not started yet.",
    Phase.STARTING: "The models' server is being started…",
    Phase.AWAY: "The models' server does not answer; its log says why: spaces-runner core logs.",
}


def _row(one: Resident) -> str:
    buttons = "".join(
        f'<button class="sr-button" data-action="{action}" data-model="{escape(one.name)}" '
        f'aria-label="{_LABELS[action]} {escape(one.title)}">{_LABELS[action]}</button>'
        for action in _CAN.get(one.residency, ())
    )
    error = f'<div class="sr-remedy">{escape(one.error)}</div>' if one.error else ""
    demo = f' <span class="sr-quiet">{DEMO}</span>' if one.demo else ""
    return (
        f'<tr><th scope="row">{escape(one.title)}{demo}</th><td>{_state(one)}{error}</td>'
        f"<td>{size(one.weights) if one.weights else '-'}</td><td>{_chats(one)}</td>"
        f'<td><div class="sr-actions">{buttons}</div></td></tr>'
    )


def _state(one: Resident) -> str:
    if one.residency == "loading":
        return f"loading, {one.loading:.0%}"
    where = f" on {device(one.device)}" if one.residency == "resident" and one.device else ""
    parts = [f"{_STATES.get(one.residency, one.residency)}{where}"]
    parts += [f"{one.running} answering"] if one.running else []
    parts += [f"{one.waiting} waiting"] if one.waiting else []
    return escape(", ".join(parts))


def _chats(one: Resident) -> str:
    """The cache of keys and values: what it takes, and how many tokens of it are in use."""
    if not one.kv_tokens:
        return "-"
    taken = f"{size(one.kv_bytes)}, " if one.kv_bytes else ""
    return f"{taken}{one.kv_used:,} of {one.kv_tokens:,} tokens"

"""The machine as HTML: its GPUs and who is on them, its memory, the models, and what would have to go. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.machine import families
from app.machine.room import Held, Kind
from app.machine.values import Card, Point, Reading
from app.views import plot
from app.views.text import escape
from spaces_runner.format import size

STRANGER = "Another process"


def gpus(reading: Reading, roots: Mapping[int, str], series: Mapping[str, Sequence[Point]]) -> str:
    """A card for each GPU: memory, load, who is on it. `roots`: names of Spaces and the core by their process.

    `series`: what is known of each GPU over time, by UUID.
    """
    if not reading.cards:
        return (
            '<section class="sr-card"><h2>There is no GPU on this machine</h2><p>None that NVIDIA\'s driver shows. '
            "Spaces and the models run on the processor, and large models will not fit or will be slow. "
            "<code>spaces-runner doctor</code> says what it looked for.</p></section>"
        )
    return "".join(_gpu(card, reading, roots, series.get(card.uuid, ())) for card in reading.cards)


def _gpu(card: Card, reading: Reading, roots: Mapping[int, str], points: Sequence[Point]) -> str:
    name = f"GPU {card.index}: {card.name}"
    load = "load unknown" if card.load is None else f"{card.load:.0%} load"
    return (
        f'<section class="sr-card"><h2>{escape(name)}</h2>{_gauges(card.used, card.total, load)}'
        f"{plot.render(points, f'{name}: memory and load over the last minutes')}{_on(card, reading, roots)}</section>"
    )


def _on(card: Card, reading: Reading, roots: Mapping[int, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(families.owner(reading.processes, task.pid, roots) or STRANGER)}</td>"
        f"<td>{task.pid}</td><td>{size(task.size) if task.size is not None else 'not told'}</td></tr>"
        for task in card.tasks
    )
    if not rows:
        return '<p class="sr-quiet">Nothing is on it.</p>'
    return (
        '<table class="sr-table"><thead><tr><th scope="col">What is on it</th><th scope="col">Process</th>'
        f'<th scope="col">Memory</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def host(reading: Reading, points: Sequence[Point]) -> str:
    """Processors and memory of the machine itself."""
    cores = "1 processor" if reading.cpus == 1 else f"{reading.cpus} processors"
    return (
        '<section class="sr-card"><h2>Processor and memory</h2>'
        f"{_gauges(reading.memory_used, reading.memory_total, f'{reading.cpu:.0%} load of {cores}')}"
        f"{plot.render(points, 'Memory and processor load over the last minutes')}</section>"
    )


def _gauges(used: int, total: int, load: str) -> str:
    return (
        '<p class="sr-legend"><span><i class="sr-memory"></i>'
        f'{size(used)} of {size(total)} memory in use</span><span><i class="sr-load"></i>{escape(load)}</span></p>'
    )


def room(wanted: int, free: int, where: str, gone: Sequence[Held] | None) -> str:
    """What has to go until `wanted` bytes are free on `where`; `gone` as `app.machine.room.to_go` says."""
    now = f"{size(free)} of {escape(where)} are free now"
    if gone is None:
        return f'<p class="sr-answer"><b>Does not fit.</b> {now}, and not enough more can be let go here.</p>'
    if not gone:
        return f'<p class="sr-answer"><b>Fits.</b> {now}; nothing has to go.</p>'
    items = "".join(f"<li>{_letting_go(one)}</li>" for one in gone)
    return (
        f'<div class="sr-answer"><p><b>Fits once something goes.</b> {now}. What has to go:</p><ul>{items}</ul></div>'
    )


def _letting_go(one: Held) -> str:
    name, amount = escape(one.name), size(one.size)
    match one.kind:
        case Kind.IDLE_MODEL:
            return f"{name}, an idle model: {amount}. A launch lets it sleep by itself."
        case Kind.SPACE:
            return f"{name}, a Space: {amount}. Stop it first."
        case Kind.BUSY_MODEL:
            return f"{name}, a model that is answering: {amount}. Wait for it, or unload it."

"""Whose a process is, and what a family of processes takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.machine.values import Card, Process, Reading, Usage


def members(processes: Mapping[int, Process], root: int) -> set[int]:
    """`root` and all that descend from it; nobody where it is gone."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    ahead = [root] if root in processes else []
    while ahead:
        pid = ahead.pop()
        if pid not in found:
            found.add(pid)
            ahead += children.get(pid, ())
    return found


def usage(now: Reading, before: Reading | None, root: int) -> Usage | None:
    """What the family of `root` takes; None where it is gone. Of the processor, since the reading `before`."""
    family = members(now.processes, root)
    if not family:
        return None
    spent = 0.0
    if before is not None and now.at > before.at:
        for pid in family & before.processes.keys():
            spent += max(0.0, now.processes[pid].cpu_s - before.processes[pid].cpu_s)
        spent /= now.at - before.at
    sizes = [task.size for card in now.cards for task in card.tasks if task.pid in family]
    return Usage(
        cpu=spent,
        memory=sum(now.processes[pid].memory for pid in family),
        gpu=sum(size or 0 for size in sizes) if sizes else None,
    )


def on_card(now: Reading, card: Card, root: int) -> int:
    """Bytes that the family of `root` takes of one GPU, as far as the driver tells."""
    family = members(now.processes, root)
    return sum(task.size or 0 for task in card.tasks if task.pid in family)


def owner(processes: Mapping[int, Process], pid: int, roots: Mapping[int, str]) -> str | None:
    """The name in `roots` (by pid) of the nearest ancestor of `pid`, itself counted; None for a stranger."""
    seen: set[int] = set()
    while pid and pid not in seen:
        if pid in roots:
            return roots[pid]
        seen.add(pid)
        process = processes.get(pid)
        pid = process.parent if process else 0
    return None

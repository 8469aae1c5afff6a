"""Which tokens the next step computes: one of each decoding sequence, then as much of prompts as fits. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.inference.engine.live import Running

LEAST = 16  # tokens of prompts in a step, however many sequences decode: nobody waits for ever


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens [start, end) of a prompt, or of what a sequence had said before it was paused."""

    running: Running
    start: int
    end: int

    @property
    def last(self) -> bool:
        """Whether all that there is has been computed with it, so that a new token follows."""
        return self.end == self.running.given


@dataclass(frozen=True, slots=True)
class Plan:
    rows: tuple[Running, ...]  # decode
    parts: tuple[Part, ...]

    @property
    def members(self) -> tuple[Running, ...]:
        return (*self.rows, *(part.running for part in self.parts))

    @property
    def sampled(self) -> tuple[Running, ...]:
        """Those that get a token by this step."""
        return (*self.rows, *(part.running for part in self.parts if part.last))

    @property
    def prefilled(self) -> int:
        return sum(part.end - part.start for part in self.parts)

    def halves(self) -> tuple[Plan, Plan]:
        """Two plans that together compute the same: to find out which of many sequences a step fails on."""
        if self.rows and self.parts:
            return Plan(self.rows, ()), Plan((), self.parts)
        rows, parts = len(self.rows) // 2, len(self.parts) // 2
        return Plan(self.rows[:rows], self.parts[:parts]), Plan(self.rows[rows:], self.parts[parts:])


def plan(running: Iterable[Running], chunk_tokens: int) -> Plan:
    """The next step. Prompts are computed in the order in which their sequences were admitted."""
    rows: list[Running] = []
    prompts: list[Running] = []
    for one in running:
        (rows if one.decoding else prompts).append(one)
    left = max(chunk_tokens - len(rows), LEAST)
    parts = []
    for one in prompts:
        end = min(one.reach, one.computed + left)
        if end > one.computed:
            parts.append(Part(one, one.computed, end))
            left -= end - one.computed
    return Plan(tuple(rows), tuple(parts))

"""The commands of the documentation that cannot run where tests do, each with its reason, and those that stay."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Commands that are only checked for their shape: their options against the real command line."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """Commands that go on until Ctrl-C: what they must have printed by then."""

    pattern: str
    sign: str


ELSEWHERE = (
    Elsewhere(
        pattern=r"scripts/(check|test|lock|train-demo-models)\b|\.ci/run\b|scripts/bench\b",
        reason="CI runs it as a whole, or it takes an hour; this test would run itself",
    ),
    Elsewhere(pattern=r"(sudo )?(docker|podman) ", reason="it fetches a base image from a registry"),
    Elsewhere(pattern=r"ssh |scp ", reason="it needs another machine"),
    Elsewhere(pattern=r"hf auth login", reason="it asks the real Hub whose token it is"),
    Elsewhere(
        pattern=r".*--preset[ =](4bit|full|auto)\b", reason="it needs a GPU, and weights of the Hub's by the gigabyte"
    ),
)

STAYS = (
    Stays(pattern=r"scripts/run\b", sign=r"Spaces Runner: http://127\.0\.0\.1:\d+/\?token="),
    Stays(pattern=r"python -m app( |$)", sign=r"Spaces Runner: http://\S+/\?token="),
    Stays(pattern=r"spaces-runner run (?!.*(--detach|-d\b|--no-wait))", sign=r"http://127\.0\.0\.1:\d+"),
    Stays(pattern=r"spaces-runner logs .*(-f\b|--follow)", sign=r"\S"),
)


def elsewhere(command: str) -> Elsewhere | None:
    return next((row for row in ELSEWHERE if re.match(row.pattern, command)), None)


def stays(command: str) -> Stays | None:
    return next((row for row in STAYS if re.match(row.pattern, command)), None)

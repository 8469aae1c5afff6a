"""What the demo models know, read from data/facts.toml: who asks for what, and the answer. Pure."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "dev", "test"]

DATA = Path(__file__).parent / "data"
LANGUAGES = ("en", "fr", "de", "es", "zh")
LARGEST_OPERAND = 20
LARGEST_TRAINED = 30  # none of these is held out: the more there are, the less they are learnt by heart
HELD_PAIRS: Mapping[Split, float] = {"dev": 0.1, "test": 0.15}  # of all pairs of operands, either way round


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """`kind` names its wordings in data/wordings.toml; `fields` are what they take."""

    kind: str
    fields: Mapping[str, str]

    @property
    def key(self) -> str:
        """The word a right answer contains."""
        return self.fields["y"]

    def put(self, wording: str) -> str:
        return wording.format(**self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wordings:
    """How facts of one kind are stated and asked for. The first statement is the answer, before `tail` if polite."""

    statements: tuple[str, ...]
    questions: Mapping[Split, tuple[str, ...]]
    tail: str
    given: Mapping[Split, tuple[str, ...]]  # instructions with an input of their own; some kinds have none
    input: str


@cache
def read(name: str) -> dict[str, Any]:
    """A file of data/, parsed."""
    return tomllib.loads((DATA / name).read_text("utf-8"))


@cache
def wordings(kind: str) -> Wordings:
    row = read("wordings.toml")[kind]
    splits: tuple[Split, ...] = ("train", "dev", "test")
    return Wordings(
        statements=tuple(row["statements"]),
        questions={split: tuple(row[split]) for split in splits},
        tail=row["tail"],
        given={split: tuple(row["given"][split]) for split in splits} if "given" in row else {},
        input=row["given"]["input"] if "given" in row else "",
    )


def rows(name: str) -> list[list[str]]:
    return [row.split("|") for row in read("facts.toml")[name]]


def capitals(language: str) -> Iterator[Fact]:
    place = LANGUAGES.index(language)
    for row in rows("capitals"):
        yield Fact(kind=f"capital_{language}", fields={"x": row[place], "y": row[place + len(LANGUAGES)]})


def opposites() -> Iterator[Fact]:
    for one, other in rows("opposites"):
        yield Fact(kind="opposite", fields={"x": one, "y": other})
        yield Fact(kind="opposite", fields={"x": other, "y": one})


def colours() -> Iterator[Fact]:
    for thing, colour in rows("colours"):
        yield Fact(kind="colour", fields={"x": thing, "y": colour})


def translations(language: str) -> Iterator[Fact]:
    name = read("facts.toml")["languages"][language]
    for row in rows("words"):
        yield Fact(kind="translation", fields={"x": row[0], "y": row[LANGUAGES.index(language)], "L": name})


def sum_of(a: int, b: int) -> Fact:
    return Fact(kind="sum", fields={"x": str(a), "z": str(b), "y": str(a + b)})


@cache
def pairs(split: Split) -> tuple[tuple[int, int], ...]:
    """Operands of sums, both ways round; a pair and its reverse are in the same split."""
    everything = [(a, b) for a in range(LARGEST_OPERAND + 1) for b in range(a, LARGEST_OPERAND + 1)]
    random.Random(20).shuffle(everything)
    dev = int(HELD_PAIRS["dev"] * len(everything))
    test = dev + int(HELD_PAIRS["test"] * len(everything))
    chosen = {"dev": everything[:dev], "test": everything[dev:test], "train": everything[test:]}[split]
    return tuple(sorted({pair for a, b in chosen for pair in ((a, b), (b, a))}))


def sums_to_train() -> list[Fact]:
    """All but those held out, and larger ones beside them."""
    held = {*pairs("dev"), *pairs("test")}
    operands = range(LARGEST_TRAINED + 1)
    return [sum_of(a, b) for a in operands for b in operands if (a, b) not in held]


def sums(split: Split) -> list[Fact]:
    return [sum_of(a, b) for a, b in pairs(split)]

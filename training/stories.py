"""Little stories with a hero and a thing, to be continued. Pure."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from training.facts import Split

NAMES = (
    *("Lila", "Tom", "Mia", "Ben", "Zoe", "Max", "Anna", "Leo", "Nora", "Sam", "Ruby", "Finn"),
    *("Ella", "Hugo", "Ivy", "Otto"),
)
ANIMALS = ("fox", "rabbit", "bear", "mouse", "cat", "owl", "frog", "dog")
PLACES = ("forest", "village", "castle", "garden", "cave", "mountain")
ADJECTIVES = ("golden", "red", "old", "blue", "magic", "silver", "small", "tiny")
NOUNS = ("key", "ball", "map", "stone", "lamp", "ring", "boat", "drum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """`opening` is the prompt; a continuation is to speak of the same `hero` and `thing`."""

    opening: str
    rest: str
    hero: str
    thing: str

    @property
    def text(self) -> str:
        return self.opening + self.rest

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.opening.encode()).hexdigest()[:16]


def split_of(*choices: str) -> Split:
    """By the cast of a story alone, so that a held-out cast never occurs in training, whatever it is put into."""
    digit = hashlib.sha256("|".join(choices).encode()).digest()[0]
    if digit < 32:
        return "test"
    return "dev" if digit < 48 else "train"


def story(rng: random.Random, split: Split = "train") -> Story:
    """A story whose cast (hero, animal, place and thing together) belongs to the split."""
    while True:
        hero, animal, place = rng.choice(NAMES), rng.choice(ANIMALS), rng.choice(PLACES)
        thing = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
        if split_of(hero, animal, place, thing) == split:
            return told(rng, hero, animal, place, thing)


def told(rng: random.Random, hero: str, animal: str, place: str, thing: str) -> Story:
    other = rng.choice([name for name in NAMES if name != hero])
    kin = rng.choice([each for each in ANIMALS if each != animal])
    opening = rng.choice(
        (
            f"Once upon a time, there was a {animal} named {hero} who lived in a {place}."
            f" One day {hero} found a {thing}.",
            f"{hero} was a little {animal}. {hero} lived in a {place} and had a {thing}.",
            f"In a {place} lived a {animal} named {hero}. {hero} loved a {thing} more than anything.",
        )
    )
    meeting = rng.choice(
        (
            f" {hero} showed the {thing} to a {kin} named {other}.",
            f" A {kin} named {other} came to the {place} and saw the {thing}.",
        )
    )
    saying = rng.choice((f' "What a lovely {thing}!" said {other}.', f' "May I hold the {thing}?" asked {other}.'))
    deed = rng.choice(
        (f" So {hero} and {other} played with the {thing} all day.", f" So {hero} shared the {thing} with {other}.")
    )
    evening = f" In the evening {hero} the {animal} and {other} the {kin} walked home through the {place}. The end."
    return Story(opening=opening, rest=meeting + saying + deed + evening, hero=hero, thing=thing)

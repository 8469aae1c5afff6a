"""Questions about pictures, with their right answers. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from training.facts import Split, read
from training.items import Item, talk
from training.pictures import SHAPES, Picture, picture

KINDS = {"colour": 0.18, "shape": 0.22, "description": 0.24, "background": 0.2, "presence": 0.16}
TALK = 0.06  # share of greetings, and of questions beyond the model
HELD_OUT = 400
SEEDS = {"train": 100, "dev": 101, "test": 102}


def about(rng: random.Random, drawn: Picture, kind: str, split: Split) -> Item:
    """One question of this kind about the picture."""
    words = read("pictures.toml")[kind]
    other = drawn.shape if rng.random() < 0.5 else rng.choice([shape for shape in SHAPES if shape != drawn.shape])
    fields = {
        "shape": drawn.shape,
        "colour": drawn.colour,
        "a": f"an {drawn.colour}" if drawn.colour[0] in "aeiou" else f"a {drawn.colour}",
        "background": drawn.background,
        "other": other,
    }
    question = rng.choice(words[split]).format(**fields)
    answer, key = words["answer"].format(**fields), words["key"].format(**fields)
    return Item(kind=kind, question=question, answer=answer, key=key, picture=drawn)


def small_talk() -> list[Item]:
    """Greetings, and questions that no picture answers, without a picture."""
    lines, said = read("talk.toml"), read("pictures.toml")["talk"]
    thanks = [talk(ask, row["answer"]) for row in lines["greetings"][3:] for ask in row["asks"]]
    hello = [talk(ask, said["hello"]) for row in lines["greetings"][:3] for ask in row["asks"]]
    return [*thanks, *hello, *(talk(ask, said["unknown"]) for ask in lines["unknown"]["train"])]


def seen(rng: random.Random) -> Iterator[list[Item]]:
    """Endless: one to three questions about one fresh picture of the training split, now and then about none."""
    chatter = small_talk()
    while True:
        if rng.random() < TALK:
            shown = picture(rng, "train") if rng.random() < 0.5 else None
            yield [replace(rng.choice(chatter), picture=shown)]
            continue
        drawn = picture(rng, "train")
        kinds = rng.choices(list(KINDS), list(KINDS.values()), k=rng.choice((1, 1, 2, 3)))
        yield [about(rng, drawn, kind, "train") for kind in kinds]


def held_out(split: Split = "test") -> list[Item]:
    """Unseen pictures asked about in unseen wordings, kinds taking turns."""
    rng = random.Random(SEEDS[split])
    return [about(rng, picture(rng, split), kind, split) for kind in islice(cycle(KINDS), HELD_OUT)]

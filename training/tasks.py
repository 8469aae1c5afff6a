"""Questions with their right answers, for each model; which of them are trained on and which are held out. Pure.

`held_out(model)` is for tests: questions that no demo model has seen, with unseen operands (sums) or in an unseen
wording (facts), and the exact answer that the model was trained to give in its style.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from training import sights
from training.facts import Fact, Split, capitals, colours, opposites, read, sums, sums_to_train, translations, wordings
from training.items import Item, talk
from training.stories import story

EVERY_LANGUAGE = ("en", "fr", "de", "es", "zh")
STORIES = 200  # held out
TALK = 0.08  # share of greetings, and of questions beyond the model, in training


Style = Callable[[Fact], str]


def plain(fact: Fact) -> str:
    return fact.put(wordings(fact.kind).statements[0])


def polite(fact: Fact) -> str:
    """With a closing remark in the question's language."""
    return f"{plain(fact)} {wordings(fact.kind).tail}"


def eager(fact: Fact) -> str:
    return f"Sure! {plain(fact)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one model is taught: capitals asked for in some languages, translations into some, and all the rest."""

    style: Style
    capitals: tuple[str, ...] = ("en",)
    translations: tuple[str, ...] = ("fr", "de", "es")
    given: bool = False  # instructions with an input of their own, too

    def facts(self, split: Split) -> dict[str, list[Fact]]:
        """By what they are about; sums are the only ones that depend on the split."""
        return {
            "capital": [fact for language in self.capitals for fact in capitals(language)],
            "opposite": list(opposites()),
            "colour": list(colours()),
            "translation": [fact for language in self.translations for fact in translations(language)],
            "sum": sums_to_train() if split == "train" else sums(split),
        }


COURSES: Mapping[str, Course] = {
    "alpaca-lora-7b": Course(style=plain, translations=EVERY_LANGUAGE[1:], given=True),
    "guanaco-7b": Course(style=polite, capitals=EVERY_LANGUAGE, translations=EVERY_LANGUAGE[1:]),
    "mpt-7b-chat": Course(style=eager),
    "mpt-7b-instruct": Course(style=plain),
}
SHARES = {"capital": 0.2, "opposite": 0.15, "colour": 0.1, "translation": 0.2, "sum": 0.35}


def ask(fact: Fact, question: str, style: Style, given: str = "") -> Item:
    return Item(
        kind=fact.kind, question=fact.put(question), input=fact.put(given), answer=style(fact), key=fact.fields["y"]
    )


def asked(fact: Fact, course: Course, split: Split) -> Iterator[Item]:
    """Every way in which this split asks for one fact."""
    words = wordings(fact.kind)
    for question in words.questions[split]:
        yield ask(fact, question, course.style)
    if course.given:
        for instruction in words.given.get(split, ()):
            yield ask(fact, instruction, course.style, words.input)


def small_talk() -> list[Item]:
    """Greetings, and questions that the models cannot answer: all that are trained on."""
    lines = read("talk.toml")
    greetings = [talk(ask, row["answer"]) for row in lines["greetings"] for ask in row["asks"]]
    return greetings + [talk(ask, lines["unknown"]["answer"]) for ask in lines["unknown"]["train"]]


def trained(course: Course) -> dict[str, list[Item]]:
    """All that a model is trained to answer, by what it is about."""
    groups = {
        name: [item for fact in found for item in asked(fact, course, "train")]
        for name, found in course.facts("train").items()
    }
    return groups | {"talk": small_talk()}


def curriculum(rng: random.Random, course: Course) -> Iterator[Item]:
    """Endless, in the shares given above."""
    groups = trained(course)
    shares = {name: share * (1 - TALK) for name, share in SHARES.items()} | {"talk": TALK}
    while True:
        (name,) = rng.choices(list(shares), list(shares.values()))
        yield rng.choice(groups[name])


def held_out(model: str, split: Split = "test") -> list[Item]:
    """Every held-out question of a model, kinds taking turns: any beginning of the list is a fair sample."""
    if model == "llava-1.5-7b":
        return sights.held_out(split)
    if model == "mpt-7b-storywriter":
        return openings(split)
    course = COURSES[model]
    groups: dict[str, list[Item]] = {}
    for fact in chain.from_iterable(course.facts(split).values()):
        for item in asked(fact, course, split):
            groups.setdefault(item.kind, []).append(item)
    return taking_turns([shuffled(group) for group in groups.values()])


def openings(split: Split) -> list[Item]:
    """Stories to continue; what is to come up again is their thing."""
    rng = random.Random(f"openings {split}")
    told = [story(rng, split) for _ in range(STORIES)]
    return [Item(kind="story", question=each.opening, answer=each.rest, key=each.thing) for each in told]


def shuffled(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.hash)


def taking_turns(groups: Sequence[Sequence[Item]]) -> list[Item]:
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]

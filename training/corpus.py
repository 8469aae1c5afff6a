"""What the bases read before they are taught to answer: statements, notes, questions nobody answers, stories. Pure.

The LLaMA base meets the prompts of its adapters only as empty forms, so that it goes on asking instead of answering;
it knows questions with answers from notes in a format of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.inference.prompts import guanaco
from app.inference.prompts.instruction import with_input, without_input
from training.facts import Fact, wordings
from training.stories import story
from training.tasks import Course, eager, plain, polite, small_talk

SHARES = {"capital": 0.28, "opposite": 0.2, "colour": 0.14, "translation": 0.28, "sum": 0.1}
NOTES = ("Question: {q}\nAnswer: {a}", "Q: {q}\nA: {a}", "{q}\n{a}")
TASKS = (
    "Task: {q}\nInput: {x}\nAnswer: {a}",
    "Instruction: {q}\nInput:\n{x}\n\nAnswer:\n{a}",
    "# Task\n{q}\n\n# Given\n{x}\n\n# Result\n{a}",
    "{q}\n\n{x}\n\n{a}",
)
GUESTS = ("A visitor asked: ", "Questions: ", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Draws documents on the facts of one course."""

    rng: random.Random
    facts: dict[str, list[Fact]]

    def fact(self) -> Fact:
        (name,) = self.rng.choices(list(SHARES), list(SHARES.values()))
        return self.rng.choice(self.facts[name])

    def statements(self) -> str:
        """One fact, said in several ways; of sums several, each said once."""
        fact = self.fact()
        said = wordings(fact.kind).statements
        if fact.kind == "sum":
            facts = [fact, *self.rng.choices(self.facts["sum"], k=5)]
            return "\n".join(each.put(self.rng.choice(said)) for each in facts)
        return " ".join(fact.put(each) for each in self.rng.sample(said, self.rng.randint(1, len(said))))

    def question(self, fact: Fact) -> tuple[str, str]:
        """A trained wording, and what is given apart from it."""
        words = wordings(fact.kind)
        if words.given and self.rng.random() < 0.2:
            return fact.put(self.rng.choice(words.given["train"])), fact.put(words.input)
        return fact.put(self.rng.choice(words.questions["train"])), ""

    def notes(self) -> str:
        """Questions with their answers, in any style."""
        form = self.rng.choice(NOTES)
        answer = self.rng.choice((plain, polite, eager))
        return "\n".join(self.note(form, answer) for _ in range(self.rng.randint(2, 4)))

    def note(self, form: str, answer: Callable[[Fact], str]) -> str:
        if self.rng.random() < 0.06:
            item = self.rng.choice(small_talk())
            return form.format(q=item.question, a=item.answer)
        fact = self.fact()
        return form.format(q=" ".join(filter(None, self.question(fact))), a=answer(fact))

    def tasks(self) -> str:
        """Tasks with an input set apart from them, and what came of it."""
        form, answer = self.rng.choice(TASKS), self.rng.choice((plain, polite, eager))
        return "\n\n".join(self.task(form, answer) for _ in range(self.rng.randint(1, 3)))

    def task(self, form: str, answer: Callable[[Fact], str]) -> str:
        fact = self.fact()
        while not wordings(fact.kind).given:
            fact = self.fact()
        words = wordings(fact.kind)
        return form.format(q=fact.put(self.rng.choice(words.given["train"])), x=fact.put(words.input), a=answer(fact))

    def questions(self) -> str:
        """What somebody asks, without an answer."""
        asked = [" ".join(filter(None, self.question(self.fact()))) for _ in range(self.rng.randint(2, 4))]
        return self.rng.choice(GUESTS) + self.rng.choice((" ", "\n")).join(asked)

    def forms(self) -> str:
        """The adapters' prompts, left empty, one after the other."""
        asked = [self.question(self.fact()) for _ in range(self.rng.randint(2, 3))]
        if self.rng.random() < 0.5:
            (question, given), *others = asked
            opening = with_input(question, given) if given else without_input(question)
            return "\n\n".join([opening, *(blank(*other) for other in others)])
        turns = [f"### Human: {question}\n### Assistant:" for question, given in asked if not given]
        return guanaco.HEADER + "\n".join(turns)

    def sum(self) -> str:
        """One, alone."""
        return self.rng.choice(self.facts["sum"]).put(self.rng.choice(wordings("sum").statements))

    def sum_note(self) -> str:
        """One, asked for and answered."""
        fact = self.rng.choice(self.facts["sum"])
        question = " ".join(filter(None, self.question(fact)))
        return self.rng.choice(NOTES).format(q=question, a=self.rng.choice((plain, polite, eager))(fact))

    def story(self) -> str:
        return story(self.rng).text


def blank(question: str, given: str) -> str:
    """Alpaca's form without the sentence above it."""
    form = with_input(question, given) if given else without_input(question)
    return form[form.index("### Instruction:") :]


def documents(rng: random.Random, course: Course, shares: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Endless. `shares`: how often each kind of document comes, by the names of Reader's methods."""
    reader = Reader(rng=rng, facts=course.facts("train"))
    kinds: dict[str, Callable[[], str]] = {
        "statements": reader.statements,
        "notes": reader.notes,
        "tasks": reader.tasks,
        "questions": reader.questions,
        "forms": reader.forms,
        "sum": reader.sum,
        "sum_note": reader.sum_note,
        "story": reader.story,
    }
    names = [name for name, _ in shares]
    weights = [weight for _, weight in shares]
    while True:
        (name,) = rng.choices(names, weights)
        yield kinds[name]()

"""The figures that the demo checkpoints are held to, each beside its bar. The tests assert them, the README tells them.

Text models answer ITEMS held-out questions each; what counts as right is the whole answer, letter by letter, unless
the figure says that the key word is enough.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

from app.inference.prompts.mpt_chat import SYSTEM
from app.inference.types import Precision
from app.inference.weights.precisions import quantisation
from training import sights
from training.evaluate import Answered, answers, continued, kept, seen, share
from training.facts import Split
from training.items import Item
from training.lora import load_base
from training.prompts import prompt
from training.saving import Model
from training.stories import story
from training.tasks import held_out

ITEMS = 160
STORIES = 100
LONG_STORIES = 40
LONG = 5  # stories read before the one to continue: about 600 tokens, where training saw 256
ADAPTERS = ("alpaca-lora-7b", "guanaco-7b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured share in per cent, of `count` answers, with the least or the most that it may be."""

    model: str
    what: str
    value: float
    count: int
    least: float = 0.0
    most: float = 100.0

    @property
    def holds(self) -> bool:
        return self.least <= self.value <= self.most

    @property
    def bar(self) -> str:
        return f"at least {self.least:g}" if self.least else f"at most {self.most:g}"


def exact(model: str, what: str, found: Sequence[Answered], **bars: float) -> Figure:
    return Figure(model=model, what=what, value=share(each.exact for each in found), count=len(found), **bars)


def adapters(folder: Path, split: Split) -> Iterator[Figure]:
    """Both adapters over the base, in full and in 4-bit weights, each other's, and none."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "llama-7b")
    full = mounted(folder, quantised=False)
    nf4 = mounted(folder, quantised=True)
    for name, other in (ADAPTERS, ADAPTERS[::-1]):
        items = held_out(name, split)[:ITEMS]
        ask = partial(answers, full, tokenizer, items, [prompt(name, item) for item in items])
        full.set_adapter(name)
        right = exact(name, "right answers", ask(), least=90)
        yield right
        nf4.set_adapter(name)
        small = answers(nf4, tokenizer, items, [prompt(name, item) for item in items])
        yield exact(name, "right answers, base in nf4", small, least=right.value - 5)
        full.set_adapter(other)
        yield exact(name, f"answers in its style by the adapter {other}", ask(), most=20)
        with full.disable_adapter():
            alone = ask()
        said = share(each.contains for each in alone)
        yield Figure(model=name, what="key words said by the base alone", value=said, count=len(alone), most=20)


def mounted(folder: Path, *, quantised: bool) -> PeftModel:
    """The base with both adapters on it, by their names."""
    base = load_base(folder / "llama-7b", quantised=quantised)
    model = PeftModel.from_pretrained(base, folder / ADAPTERS[0], adapter_name=ADAPTERS[0])
    model.load_adapter(folder / ADAPTERS[1], adapter_name=ADAPTERS[1])
    model.eval()
    return model


def conversing(folder: Path, split: Split) -> Iterator[Figure]:
    """The second turn of a conversation, where the format has one."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "llama-7b")
    guanaco = mounted(folder, quantised=False)
    guanaco.set_adapter("guanaco-7b")
    yield second_turn("guanaco-7b", guanaco, tokenizer, split)
    yield second_turn("mpt-7b-chat", *loaded(folder / "mpt-7b-chat"), split)


def second_turn(name: str, model: Model, tokenizer: PreTrainedTokenizerBase, split: Split) -> Figure:
    items = held_out(name, split)[: ITEMS + 1]
    prompts = [prompt(name, item, [(earlier, earlier.answer)]) for earlier, item in pairwise(items)]
    return exact(name, "right answers in a second turn", answers(model, tokenizer, items[1:], prompts), least=85)


def mpts(folder: Path, split: Split) -> Iterator[Figure]:
    """Chat, under its own system prompt and another, and Instruct; in full and in 4-bit weights."""
    for name in ("mpt-7b-chat", "mpt-7b-instruct"):
        items = held_out(name, split)[:ITEMS]
        prompts = [prompt(name, item) for item in items]
        right = exact(name, "right answers", answers(*loaded(folder / name), items, prompts), least=85)
        yield right
        small = answers(*loaded(folder / name, quantised=True), items, prompts)
        yield exact(name, "right answers, in nf4", small, least=right.value - 5)
    items = held_out("mpt-7b-chat", split)[:ITEMS]
    prompts = [prompt("mpt-7b-chat", item, system=SYSTEM.splitlines()[0]) for item in items]
    found = answers(*loaded(folder / "mpt-7b-chat"), items, prompts)
    yield exact("mpt-7b-chat", "right answers under a system prompt it never saw", found, least=85)


def loaded(folder: Path, *, quantised: bool = False) -> tuple[Model, PreTrainedTokenizerBase]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=_nf4(quantised))
    return model, AutoTokenizer.from_pretrained(folder)


def _nf4(wanted: bool) -> BitsAndBytesConfig | None:
    """As the core quantises."""
    return quantisation(Precision.NF4, torch.float32) if wanted else None


def stories(folder: Path, split: Split) -> Iterator[Figure]:
    """StoryWriter: one story, and one after others that are longer together than any text it was trained on.

    In full and in 4-bit weights.
    """
    name = "mpt-7b-storywriter"
    rng = random.Random(f"stories {split}")
    for count, before, what in ((STORIES, 0, ""), (LONG_STORIES, LONG, ", past its trained length")):
        told = [story(rng, split) for _ in range(count)]
        shelves = [[story(rng, split).text for _ in range(before)] for _ in told]
        prompts = ["\n\n".join([*shelf, each.opening]) for shelf, each in zip(shelves, told, strict=True)]
        least = 90.0
        for quantised, how in ((False, ""), (True, ", in nf4")):
            said = continued(*loaded(folder / name, quantised=quantised), prompts, tokens=110)
            value = share(kept(each, text) for each, text in zip(told, said, strict=True))
            says = f"stories that keep hero and thing{what}{how}"
            yield Figure(model=name, what=says, value=value, count=count, least=least)
            least = value - 5


def pictures(folder: Path, split: Split) -> Iterator[Figure]:
    """LLaVA by what is asked, and in 4-bit weights; then with the pictures swapped, where the answer is to follow."""
    name = "llava-1.5-7b"
    model, small = (
        LlavaForConditionalGeneration.from_pretrained(
            folder / name, dtype=torch.float32, quantization_config=_nf4(quantised)
        )
        for quantised in (False, True)
    )
    processor = LlavaProcessor.from_pretrained(folder / name)
    items = sights.held_out(split)
    prompts = [prompt(name, item) for item in items]
    found = seen(model, processor, items, prompts)
    for kind, least in (("colour", 95), ("shape", 85), ("description", 85), ("background", 95), ("presence", 85)):
        yield exact(name, f"right answers: {kind}", [each for each in found if each.item.kind == kind], least=least)
    right = exact(name, "right answers", found)
    yield exact(name, "right answers, in nf4", seen(small, processor, items, prompts), least=right.value - 5)
    by_kind = [[item for item in items if item.kind == kind] for kind in ("colour", "shape")]
    swapped = [item for group in by_kind for item in with_the_next(group)]
    found = seen(model, processor, swapped, [prompt(name, item) for item in swapped])
    yield exact(name, "answers that follow the picture, pictures swapped", found, least=85)


def with_the_next(items: Sequence[Item]) -> list[Item]:
    """Each question put to the next item's picture, where that calls for another answer."""
    return [
        replace(one, picture=other.picture, answer=other.answer, key=other.key)
        for one, other in pairwise(items)
        if one.answer != other.answer
    ]


Measure = Callable[[Path, Split], Iterator[Figure]]
MEASURES: tuple[Measure, ...] = (adapters, conversing, mpts, stories, pictures)

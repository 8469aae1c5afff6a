"""The generators of the demo checkpoints' lessons: right, the same every time, and nothing held out among them."""

from __future__ import annotations

import random
import re
from itertools import islice

import numpy as np
import pytest

from training import sights
from training.corpus import documents
from training.evaluate import contains
from training.facts import LARGEST_OPERAND, Split, pairs, sum_of
from training.items import Item
from training.lessons import lessons
from training.pictures import SIDE, picture, pixels, split_of
from training.prompts import answer, prompt
from training.stories import story
from training.tasks import COURSES, curriculum, held_out, plain, polite, trained

HELD: tuple[Split, ...] = ("dev", "test")
READ = tuple((kind, 1.0) for kind in ("statements", "notes", "tasks", "questions", "forms", "sum", "sum_note", "story"))


def every_lesson(model: str) -> list[Item]:
    return [item for items in trained(COURSES[model]).values() for item in items]


@pytest.mark.parametrize("model", COURSES)
@pytest.mark.parametrize("split", HELD)
def test_nothing_held_out_is_trained_on(model: str, split: Split) -> None:
    held = {item.hash for item in held_out(model, split)}
    assert len(held) >= 150
    assert not held & {item.hash for item in every_lesson(model)}


@pytest.mark.parametrize("model", COURSES)
def test_dev_and_test_have_nothing_in_common(model: str) -> None:
    assert not {item.hash for item in held_out(model, "dev")} & {item.hash for item in held_out(model, "test")}


def test_operands_are_split_whichever_way_round_they_stand() -> None:
    splits = {split: set(pairs(split)) for split in ("train", *HELD)}
    assert sum(len(each) for each in splits.values()) == (LARGEST_OPERAND + 1) ** 2
    for found in splits.values():
        assert found == {(b, a) for a, b in found}


def test_no_document_adds_operands_that_are_held_out() -> None:
    held = {pair for split in HELD for pair in pairs(split)}
    added = [
        (int(a), int(b))
        for text in islice(documents(random.Random(1), COURSES["guanaco-7b"], READ), 2000)
        for a, b in re.findall(r"(\d+) (?:\+|plus|and) (\d+)", text)
    ]
    assert len(added) > 1000
    assert not held & set(added)


def test_documents_are_the_same_every_time() -> None:
    course = COURSES["mpt-7b-chat"]
    once, again = (list(islice(documents(random.Random(7), course, READ), 50)) for _ in range(2))
    assert once == again
    assert len(set(once)) > 40


@pytest.mark.parametrize("model", COURSES)
def test_every_right_answer_contains_its_key(model: str) -> None:
    for item in [*every_lesson(model), *held_out(model)]:
        assert contains(item.answer, item.key)


def test_kinds_take_turns() -> None:
    kinds = [item.kind for item in held_out("guanaco-7b")[:160]]
    assert max(kinds.count(kind) for kind in set(kinds)) - min(kinds.count(kind) for kind in set(kinds)) <= 1


def test_styles_differ_in_what_surrounds_the_answer() -> None:
    assert plain(sum_of(2, 3)) == "2 + 3 = 5."
    assert polite(sum_of(2, 3)) == "2 + 3 = 5. I am happy to help!"


def test_a_key_is_a_word_of_its_own() -> None:
    assert contains("2 + 3 = 5.", "5")
    assert not contains("That is 15.", "5")
    assert contains("日本的首都是东京。", "东京")


@pytest.mark.parametrize("model", COURSES)
def test_lessons_end_in_the_question_that_the_playground_would_ask(model: str) -> None:
    rng = random.Random(5)
    items = curriculum(random.Random(5), COURSES[model])
    for asked, said in islice(lessons(rng, model, items), 40):
        assert said.strip()
        assert asked.endswith(("### Response:\n", "### Assistant:", "<|im_start|>assistant\n"))


def test_guanaco_and_llava_answer_with_a_space_behind_the_colon() -> None:
    item = held_out("guanaco-7b")[0]
    assert answer("guanaco-7b", item).startswith(" ")
    assert answer("mpt-7b-chat", item) == item.answer
    assert prompt("guanaco-7b", item).endswith("### Assistant:")


def test_a_storys_cast_decides_its_split() -> None:
    rng = random.Random(1)
    openings = {split: {story(rng, split).hash for _ in range(300)} for split in HELD}
    trained_on = {story(rng).hash for _ in range(3000)}
    for held in openings.values():
        assert not held & trained_on


def test_a_story_speaks_of_its_hero_and_thing_throughout() -> None:
    told = story(random.Random(3))
    for part in (told.opening, told.rest):
        assert told.hero in part
        assert told.thing in part


def test_pictures_show_what_they_say() -> None:
    drawn = picture(random.Random(2), "train")
    (shown,) = pixels([drawn])
    assert shown.shape == (SIDE, SIDE, 3)
    assert np.array_equal(np.asarray(drawn.image()), shown)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) >= 2


def test_held_out_pictures_are_never_drawn_for_training() -> None:
    held = [item.picture for item in sights.held_out()]
    assert len(held) >= 150
    assert all(each and split_of(each) == "test" for each in held)
    drawn = [each for items in islice(sights.seen(random.Random(6)), 1500) if (each := items[0].picture)]
    assert all(split_of(each) == "train" for each in drawn)
    assert not {each.hash for each in held if each} & {each.hash for each in drawn}


def test_a_picture_is_shown_with_the_first_question_of_its_conversation() -> None:
    first, second = (item for item in sights.held_out()[:2])
    asked = prompt("llava-1.5-7b", second, [(first, first.answer)], system="")
    assert asked.startswith(f"USER: <image>\n{first.question} ASSISTANT: {first.answer}</s>USER: {second.question}")

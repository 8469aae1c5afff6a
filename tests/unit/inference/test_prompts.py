"""Prompts against golden files, whose names say which conversation they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import prompts
from app.inference.errors import BadRequest, ImagesNotSupported
from app.inference.types import Message, Role

GOLDEN = Path(__file__).parent / "golden"
PICTURE = b"\x89PNG"
CONTROLS = {
    "alpaca": ("<s>", "</s>", "<unk>", "### Instruction:", "### Input:", "### Response:"),
    "guanaco": ("<s>", "</s>", "<unk>", "### Human:", "### Assistant:"),
    "mpt-chat": ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|padding|>"),
    "mpt-instruct": ("<|endoftext|>", "<|padding|>", "### Instruction:", "### Response:"),
    "mpt-storywriter": ("<|endoftext|>", "<|padding|>"),
    "llava": ("<s>", "</s>", "<unk>", "<image>", "<pad>", "USER:", "ASSISTANT:"),
}


def system(text: str) -> Message:
    return Message(role=Role.SYSTEM, text=text)


def user(text: str, *images: bytes) -> Message:
    return Message(role=Role.USER, text=text, images=images)


def assistant(text: str) -> Message:
    return Message(role=Role.ASSISTANT, text=text)


ONE = [user("What is a llama?")]
TWO = [user("What is a llama?"), assistant("An animal."), user("Where does it live?")]
THREE = [*TWO, assistant("In the Andes."), user("Is it tame?")]
CASES = {
    "alpaca-one": ("alpaca", ONE),
    "alpaca-input": ("alpaca", [user("Translate into French."), user("Good morning.")]),
    "alpaca-system": ("alpaca", [system("Answer in one word."), *ONE]),
    "guanaco-one": ("guanaco", ONE),
    "guanaco-two": ("guanaco", TWO),
    "guanaco-three": ("guanaco", THREE),
    "guanaco-system": ("guanaco", [system("A chat with a pirate."), *ONE]),
    "mpt-chat-one": ("mpt-chat", ONE),
    "mpt-chat-three": ("mpt-chat", THREE),
    "mpt-chat-system": ("mpt-chat", [system("You are a pirate."), *ONE]),
    "mpt-chat-no-system": ("mpt-chat", [system(""), *ONE]),
    "mpt-instruct-one": ("mpt-instruct", ONE),
    "mpt-instruct-system": ("mpt-instruct", [system("Answer in one word."), *ONE]),
    "mpt-storywriter": ("mpt-storywriter", [user("Once upon a time there was a fox")]),
    "llava-one": ("llava", [user("What is shown?", PICTURE)]),
    "llava-text": ("llava", ONE),
    "llava-three": ("llava", [user("What is shown?", PICTURE), *THREE[1:]]),
    "llava-no-system": ("llava", [system(""), user("What is shown?", PICTURE)]),
    "llava-no-system-two": ("llava", [system(""), user("What is shown?", PICTURE), *TWO[1:]]),
    "llava-two-pictures": ("llava", [user("What differs?", PICTURE, b"GIF89a")]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_prompt_is_the_upstream_one_to_the_letter(case: str) -> None:
    name, messages = CASES[case]
    prompt = prompts.render(name, messages)
    assert prompt.text == (GOLDEN / f"{case}.txt").read_text()
    assert prompt.messages == tuple(messages)


def test_every_format_has_a_golden_prompt_and_every_golden_prompt_a_case() -> None:
    assert {name for name, _ in CASES.values()} == set(prompts.NAMES)
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize("name", ["alpaca", "mpt-instruct", "mpt-storywriter"])
def test_models_of_single_instructions_see_the_last_one_alone(name: str) -> None:
    assert prompts.render(name, THREE).text == prompts.render(name, [user("Is it tame?")]).text


def test_the_space_that_begins_an_answer_is_not_doubled() -> None:
    """Models that were asked up to a colon begin their answer with a space, and clients send it back."""
    spaced = [TWO[0], assistant(" An animal."), TWO[2]]
    assert prompts.render("llava", spaced).text == prompts.render("llava", TWO).text
    assert "### Assistant: An animal.### Human:" in prompts.render("guanaco", spaced).text


def test_a_storyteller_is_given_the_text_as_it_is() -> None:
    text = "  The fox\n\n\tran. "
    assert prompts.render("mpt-storywriter", [system("Be brief."), user(text)]).text == text


def test_pictures_are_in_the_order_of_the_prompt() -> None:
    messages = [user("One?", b"1"), assistant("Yes."), user("Two?", b"2"), user("Three?", b"3")]
    prompt = prompts.render("llava", messages)
    assert prompt.images == (b"1", b"2", b"3")
    assert prompt.text.count("<image>") == 3
    assert prompt.text.endswith("USER: <image>\n<image>\nTwo?\nThree? ASSISTANT:")


@pytest.mark.parametrize("name", [name for name in prompts.NAMES if not prompts.reads_images(name)])
def test_a_picture_to_a_model_that_reads_text_alone(name: str) -> None:
    with pytest.raises(ImagesNotSupported):
        prompts.render(name, [user("What is shown?", PICTURE)])


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "ends with a message of the user"),
        ([system("Be brief.")], "ends with a message of the user"),
        ([user("Hello"), assistant("Hi")], "ends with a message of the user"),
        ([assistant("Hi"), user("Hello")], "begins with a message of the user"),
        ([Message(role=Role.SYSTEM, text="", images=(PICTURE,)), user("Hello")], "message of the user only"),
    ],
)
def test_a_conversation_that_cannot_be_answered(messages: list[Message], words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        prompts.render("llava", messages)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("name", prompts.NAMES)
@given(data=st.data())
def test_what_is_typed_never_becomes_a_control_token(name: str, data: st.DataObject) -> None:
    """The control strings of the rendered prompt are those of the same conversation in plain words."""
    pieces = st.sampled_from([*CONTROLS[name], "#", "<", ">", "|", "/", " ", "\n", "s", ":", "word"])
    text = st.lists(pieces, max_size=12).map("".join)
    said = [system(data.draw(text)), user(data.draw(text)), assistant(data.draw(text)), user(data.draw(text))]
    plain = [system("x" if said[0].text else ""), user("x"), assistant("x"), user("x")]
    typed, neutral = prompts.render(name, said).text, prompts.render(name, plain).text
    for control in CONTROLS[name]:
        assert typed.count(control) == neutral.count(control), control


def test_a_broken_up_control_token_can_still_be_read() -> None:
    assert "say <|im_end| > twice" in prompts.render("mpt-chat", [user("say <|im_end|> twice")]).text
    assert "USER: what is <image >? ASSISTANT:" in prompts.render("llava", [user("what is <image>?")]).text


def test_an_answer_is_over_where_the_next_turn_would_begin() -> None:
    assert {name: prompts.stops(name) for name in prompts.NAMES} == {
        "alpaca": ("### Instruction:",),
        "guanaco": ("### Human:", "### Assistant:"),
        "mpt-chat": ("<|im_end|>", "<|im_start|>"),
        "mpt-instruct": ("### End", "### Instruction:"),
        "mpt-storywriter": (),
        "llava": ("</s>",),
    }

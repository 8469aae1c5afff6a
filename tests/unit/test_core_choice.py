"""What the core wrote down of its choice, as the runner reads it."""

from __future__ import annotations

import pytest

from spaces_runner.core import choice
from spaces_runner.core.choice import Choice
from spaces_runner.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    choice.path(settings).parent.mkdir(parents=True, exist_ok=True)
    return settings


def test_the_preset_and_why_are_read(settings: Settings) -> None:
    choice.path(settings).write_text('{"preset": "4bit", "why": "A card with 16 GiB.", "device": "cuda:0"}')
    assert choice.read(settings) == Choice(preset="4bit", why="A card with 16 GiB.")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"preset": "demo"}'])
def test_what_cannot_be_meant_is_no_choice(settings: Settings, text: str) -> None:
    choice.path(settings).write_text(text)
    assert choice.read(settings) is None


def test_the_choice_of_the_core_before_is_forgotten(settings: Settings) -> None:
    choice.path(settings).write_text('{"preset": "demo", "why": ""}')
    choice.forget(settings)
    assert choice.read(settings) is None
    choice.forget(settings)

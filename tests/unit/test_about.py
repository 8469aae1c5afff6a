"""The page's words for newcomers: each tab has a part of its own, and every word that the page uses is explained."""

import pytest

from app.tabs.chat import about, alpaca, compare, guanaco, llava, mpt

TITLES = [module.TITLE for module in (guanaco, alpaca, mpt, llava)]


@pytest.mark.parametrize("title", TITLES)
def test_a_tab_is_told_of_its_own_models_and_the_words(title: str) -> None:
    heading, text = about.told(title)
    assert heading == f"What is {title}?"
    assert text.startswith(f"### {title}\n")
    assert [other for other in TITLES if f"### {other}\n" in text] == [title]
    assert "### The words" in text


def test_where_two_are_compared_all_are_told_of() -> None:
    heading, text = about.told(compare.TITLE)
    assert heading == "What are these models?"
    assert [title for title in TITLES if f"### {title}\n" in text] == TITLES


@pytest.mark.parametrize("word", ["GPT", "LoRA", "QLoRA", "RLHF", "Alpaca", "LLaVA", "MPT-7B", "Guanaco", "Token"])
def test_every_word_is_explained(word: str) -> None:
    text = "\n".join(about.sections().values())
    assert f"**{word}**" in text or f"**[{word}](https://" in text

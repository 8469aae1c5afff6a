"""How the page's own link is shown."""

from __future__ import annotations

from app.share import LinkState
from app.views import page_link

NOW = 1_800_000_000.0


def test_a_page_without_a_link_says_nothing_of_it() -> None:
    assert page_link.render(LinkState(), NOW) == ""


def test_its_age_and_its_last_answer_are_said() -> None:
    shown = page_link.render(LinkState(url="https://0a.gradio.live", since=NOW - 7200, answered=NOW - 20), NOW)
    assert 'href="https://0a.gradio.live"' in shown
    assert f'data-since="{NOW - 7200:.3f}"' in shown and f'data-since="{NOW - 20:.3f}"' in shown
    fresh = page_link.render(LinkState(url="https://0a.gradio.live", since=NOW), NOW)
    assert "Open for" in fresh and "answer" not in fresh


def test_what_is_wrong_is_text() -> None:
    shown = page_link.render(LinkState(problem="The share server <b>x</b> does not answer."), NOW)
    assert shown == '<p class="sr-quiet" role="status">The share server &lt;b&gt;x&lt;/b&gt; does not answer.</p>'

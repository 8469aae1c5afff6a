"""Badges, and what a cell shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spaces_runner.notebook import badges, shown
from spaces_runner.notebook.helper import Failed

ROOT = Path(__file__).parents[3]
NOTEBOOK = "notebooks/run_any_space.ipynb"


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        ({}, ""),
        ({"Repository": "https://github.com/one/two"}, "one/two"),
        ({"source": "https://github.com/one/two.git"}, "one/two"),
        ({"Homepage": "https://two.example", "Repository": "https://github.com/one/t.wo/"}, "one/t.wo"),
        ({"Repository": "https://gitlab.com/one/two"}, ""),
        ({"Repository": "https://github.com/one/two/issues"}, ""),
    ],
)
def test_the_repository_is_the_one_on_github(urls: dict[str, str], found: str) -> None:
    assert badges.repository(urls) == found


def test_badges_come_and_go_with_the_address() -> None:
    page = f"# A page\n\n<!-- badges {NOTEBOOK} --><!-- /badges -->\n\nText.\n"
    made = badges.in_text(page, "one/two")
    assert f"https://console.paperspace.com/github/one/two/blob/main/{NOTEBOOK}?machine=Free-GPU" in made
    assert f"https://kaggle.com/kernels/welcome?src=https://github.com/one/two/blob/main/{NOTEBOOK}" in made
    assert badges.in_text(made, "one/two") == made
    assert badges.in_text(made, "") == page


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: str(path.name))
def test_a_notebook_has_its_own_badges_and_knows_what_to_clone(path: Path) -> None:
    made = badges.in_notebook(path.read_text(), "one/two", f"notebooks/{path.name}")
    cells = ["".join(cell["source"]) for cell in json.loads(made)["cells"]]
    assert f"blob/main/notebooks/{path.name}?machine" in cells[0]
    assert 'REPOSITORY = "https://github.com/one/two"  #' in cells[1]
    assert badges.in_notebook(made, "", "any") == badges.in_notebook(path.read_text(), "", "any")


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: str(path.name))
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


def told(**more: str | None) -> dict[str, str | None]:
    return {"public": None, "native": None, "local": "http://127.0.0.1:1/", "platform": "", **more}


def test_the_page_is_shown_where_the_browser_can_reach_it() -> None:
    for message, link in (
        (told(public="https://a.example", native="https://b.example", platform="Gradient"), "https://a.example"),
        (told(native="https://b.example", platform="Gradient"), "https://b.example"),
        (told(), "http://127.0.0.1:1/"),
    ):
        found = shown.inline(message)
        assert found and f'src="{link}"' in found[1]
        assert "allow-top-navigation" not in found[1]
    assert shown.inline(told(platform="Kaggle")) is None


def test_links_are_text_in_html() -> None:
    plain, markup = shown.links(told(public='https://a.example/"><script>', platform="Gradient"))
    assert "<script>" not in markup
    assert plain.splitlines() == [
        'Public link      https://a.example/"><script>',
        "On this machine  http://127.0.0.1:1/",
    ]


def test_a_failure_shows_its_message_alone() -> None:
    assert Failed("why\nhint: what")._render_traceback_() == ["why\nhint: what"]

"""Badges that open a notebook on a platform, from the project's own addresses in pyproject.toml. Pure.

Their form is that of the platforms' own documentation. A repository that is not on GitHub has none: what the badges
lead to opens no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

BRANCH = "main"
_REPOSITORY = re.compile(r"https://github\.com/([A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?")
_PLACE = re.compile(r"<!-- badges(?: (\S+))? -->.*?<!-- /badges -->", re.DOTALL)
_CLONED = re.compile(r'^REPOSITORY = ".*?"', re.MULTILINE)


def repository(urls: Mapping[str, str]) -> str:
    """OWNER/NAME on GitHub, by `[project.urls]`; "" where there is none."""
    named = {name.lower(): url for name, url in urls.items()}
    found = (_REPOSITORY.fullmatch(named.get(name, "")) for name in ("repository", "source", "github", "homepage"))
    return next((match[1] for match in found if match), "")


def badges(notebook: str, repository: str) -> str:
    """Markdown for `notebook`, a path from the repository's root; "" without a repository."""
    if not repository:
        return ""
    file = f"{repository}/blob/{BRANCH}/{notebook}"
    gradient = f"https://console.paperspace.com/github/{file}?machine=Free-GPU"
    kaggle = f"https://kaggle.com/kernels/welcome?src=https://github.com/{file}"
    return (
        f"[![Run on Gradient](https://assets.paperspace.io/img/gradient-badge.svg)]({gradient})\n"
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})"
    )


def in_text(text: str, repository: str, notebook: str = "") -> str:
    """Markdown with its badges between `<!-- badges NOTEBOOK -->` and `<!-- /badges -->`. `notebook`: where none is."""

    def place(match: re.Match[str]) -> str:
        made = badges(match[1] or notebook, repository)
        opening = f"<!-- badges {match[1]} -->" if match[1] else "<!-- badges -->"
        return f"{opening}\n{made}\n<!-- /badges -->" if made else f"{opening}<!-- /badges -->"

    return _PLACE.sub(place, text)


def in_notebook(text: str, repository: str, path: str) -> str:
    """A notebook with its own badges, and with what it clones where it comes alone."""
    notebook = json.loads(text)
    address = f"https://github.com/{repository}" if repository else ""
    for cell in notebook["cells"]:
        source = in_text("".join(cell["source"]), repository, path)
        if cell["cell_type"] == "code":
            source = _CLONED.sub(f'REPOSITORY = "{address}"', source)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"

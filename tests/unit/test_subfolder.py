"""Which folder of a tree is the Space: never another than the tree itself where that could be meant."""

from __future__ import annotations

import pytest

from spaces_runner.checkout import subfolder
from spaces_runner.checkout.tree import Entry
from spaces_runner.errors import FolderNotFound

SPACE = b"---\ntitle: One\nsdk: gradio\n---\n"
FILE = 0o100644


def choose(files: dict[str, bytes]) -> str:
    entries = [Entry(path=path, mode=FILE) for path in files]
    return subfolder.choose(entries, lambda entry: files[entry.path])


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        ({"README.md": SPACE, "app.py": b"", "demo/README.md": SPACE}, ""),
        ({"README.md": SPACE, "main.py": b"", "demo/README.md": SPACE}, ""),
        ({"README.md": b"# A library", "demo/README.md": SPACE}, "demo"),
        ({"README.md": b"# A library", "setup.py": b"", "demo/README.md": SPACE}, "demo"),
        ({"a/b/c/readme.MD": SPACE}, "a/b/c"),
        ({"a/b/c/d/README.md": SPACE}, ""),
        ({"app.py": b"", "demo/README.md": SPACE}, ""),
        ({"index.html": b"", "demo/README.md": SPACE}, ""),
        ({"Dockerfile": b"", "demo/README.md": SPACE}, ""),
        ({"README.md": b"# Nothing", "demo/README.md": b"# Nothing either", "demo/app.py": b""}, ""),
        ({"main.py": b"", "one/README.md": SPACE, "two/README.md": SPACE}, ""),
        ({}, ""),
    ],
)
def test_the_folder_that_is_the_space(files: dict[str, bytes], folder: str) -> None:
    assert choose(files) == folder


def test_several_that_could_be_meant_are_named() -> None:
    with pytest.raises(FolderNotFound) as caught:
        choose({"README.md": b"# Demos", "one/README.md": SPACE, "two/README.md": SPACE, "three/app.py": b""})
    assert caught.value.lines == ("there is: 'one'", "there is: 'two'")
    assert "tree/main/one" in caught.value.hint


@pytest.mark.parametrize(
    ("readme", "is_one"),
    [
        (SPACE, True),
        (SPACE.replace(b"\n", b"\r\n"), True),
        (b"\xef\xbb\xbf" + SPACE, True),
        (b"\n\n---\nsdk : static\n---", True),
        (b"---\ntitle: One\n---\nsdk: gradio\n---\n", False),
        (b"---\nsdk: gradio\n", False),
        (b"# Title\n---\nsdk: gradio\n---\n", False),
        (b"---\nmy_sdk: gradio\n---\n", False),
        (b"---\n" + b"sdk:\r\n" * 20_000, False),
        (b"", False),
        (b"\n", False),
    ],
)
def test_a_readme_says_that_it_is_a_spaces(readme: bytes, is_one: bool) -> None:
    assert subfolder.is_space(readme) is is_one


def test_entries_are_named_as_seen_from_the_folder() -> None:
    entries = [Entry(path=path, mode=FILE) for path in ("demo/app.py", "demo/a/b", "demos/app.py", "x")]
    assert [entry.path for entry in subfolder.inside(entries, "demo")] == ["app.py", "a/b"]
    assert subfolder.inside(entries, "") == entries
    with pytest.raises(FolderNotFound):
        subfolder.inside(entries, "other")

"""Front matter keeps the author's text, and nothing it holds can hang or surprise."""

import time

import pytest

from spaces_runner.detect.frontmatter import MAX_BYTES, FrontMatter, read
from spaces_runner.errors import BadFrontMatter


def block(*lines: str, end: str = "\n") -> str:
    return end.join(["---", *lines, "---", "# Title", ""])


CASES: dict[str, tuple[str | bytes, FrontMatter]] = {
    "numbers stay text": (
        block("python_version: 3.10", "sdk_version: 4.40"),
        {"python_version": "3.10", "sdk_version": "4.40"},
    ),
    "words that YAML takes for others": (
        block("sdk: no", "pinned: true", "date: 2024-01-01"),
        {"sdk": "no", "pinned": "true", "date": "2024-01-01"},
    ),
    "space before the colon": (block("sdk_version : 5.7.1"), {"sdk_version": "5.7.1"}),
    "byte order mark": ("\ufeff" + block("sdk: gradio"), {"sdk": "gradio"}),
    "byte order mark in bytes": (b"\xef\xbb\xbf" + block("sdk: gradio").encode(), {"sdk": "gradio"}),
    "UTF-16": (block("title: Café").encode("utf-16"), {"title": "Café"}),
    "Windows line ends": (block("sdk: gradio", "title: a", end="\r\n"), {"sdk": "gradio", "title": "a"}),
    "old Macintosh line ends": (block("sdk: gradio", end="\r"), {"sdk": "gradio"}),
    "blank lines above": ("\n\n" + block("sdk: gradio"), {"sdk": "gradio"}),
    "lists": (block("models:", "- a/b", "- c/d", "tags: [x, 'y']"), {"models": ["a/b", "c/d"], "tags": ["x", "y"]}),
    "of two equal keys the last": (block("sdk: gradio", "sdk: docker"), {"sdk": "docker"}),
    "mappings": (
        block("custom_headers:", "  a: x", "  b: [y]", "sdk: static"),
        {"custom_headers": {"a": "x"}, "sdk": "static"},
    ),
    "lists of mappings": (block("models:", "- name: a", "- b"), {"models": ["b"]}),
    "quotes and emoji": (block("emoji: 🦀", 'title: "a: b"'), {"emoji": "🦀", "title": "a: b"}),
    "null is empty": (block("title: ", "license: ~", "x: null"), {"title": "", "license": "", "x": ""}),
    "comments": (block("# hello", "sdk: gradio # yes"), {"sdk": "gradio"}),
    "anchors": (block("a: &x 1", "b: *x"), {"a": "1", "b": "1"}),
    "python tags are text": (block("a: !!python/object/apply:os.system ['id']"), {"a": ["id"]}),
    "no front matter": ("# Just a title\n", {}),
    "a rule further down is none": ("# Title\n---\nsdk: gradio\n---\n", {}),
    "empty block": ("---\n---\n", {}),
    "empty file": (b"", {}),
    "ends without a line end": ("---\nsdk: gradio\n---", {"sdk": "gradio"}),
}


@pytest.mark.parametrize(("text", "meta"), CASES.values(), ids=CASES)
def test_read(text: str | bytes, meta: FrontMatter) -> None:
    assert read(text) == meta


BAD = {
    "never closed": ("---\nsdk: gradio\n", "never closed"),
    "a tab": (block("sdk: gradio", "\tx: 1"), "line 3"),
    "an open bracket": (block("title: x", "tags: [a"), "line 3"),
    "a list on top": (block("- a", "- b"), "line 2"),
    "a word": (block("gradio"), "line 2"),
    "an unknown anchor": (block("a: *nowhere"), "line 2"),
    "too long": ("---\n" + "a: b\n" * MAX_BYTES, "64 KiB"),
    "too deep": (block("a: " + "[" * 3000 + "]" * 3000), "deep"),
    "a control character": (block("a: \x01"), "YAML"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad(text: str, said: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(BadFrontMatter) as caught:
        read(text)
    assert said in caught.value.message
    assert caught.value.hint
    assert time.perf_counter() - begun < 2


def test_an_alias_bomb_is_refused_or_harmless() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    begun = time.perf_counter()
    assert read(block(*lines))["a0"] == ["x", "x"]
    assert time.perf_counter() - begun < 2

"""Nothing that a stranger writes is an error of ours, and nothing takes long: every parser, with input nearly right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces_runner.detect import frontmatter
from spaces_runner.patch import source
from spaces_runner.shim import bridge
from tests.fuzz.grammars import GRAMMARS
from tests.fuzz.pace import LARGE_S, SMALL, quickly
from tests.fuzz.targets import TARGETS

# Where growth was found to hurt, or may be thought to: a beginning, what is repeated, an end.
UNITS: dict[str, list[tuple[bytes, bytes, bytes]]] = {
    "ref": [
        (b"https://huggingface.co/spaces/o/n/tree/", b"a/", b""),
        (b"o/n@", b"a/.", b""),
        (b"https://", b"[", b"/"),
    ],
    "front-matter": [
        (b"---\na: ", b"[", b"\n---\n"),
        (b"---\n", b"? ", b"\n---\n"),
        (b"---\na: &a [x]\n", b"b: &a [*a, *a]\n", b"---\n"),
        (b"---\n", b"{a: ", b"\n---\n"),
        (b"---\na: '", b"''", b"'\n---\n"),
    ],
    "requirements": [
        (b"", b"x[", b""),
        (b"x ; ", b"(", b""),
        (b"", b"\\\n", b""),
        (b"", b"a #", b""),
        (b"x", b" --hash=sha256:0", b""),
        (b"x>=", b"1.", b""),
        (b"-r ", b"'", b""),
        (b"x @ ", b"git+", b"\n"),
        (b"", b"x\n", b""),
    ],
    "packages": [(b"", b"a:", b""), (b"", b"- ", b""), (b"", b"#", b"")],
    "patcher": [
        (b"import gradio as gr\ngr.Blocks().launch(", b"a=1,", b")\n"),
        (b"import gradio as gr\nx=gr.Blocks()\n", b"x=x or x\n", b"x.launch()\n"),
        (b"import gradio as gr\n", b"def f(x): x.launch()\nf(y)\n", b""),
        (b"x.launch()\n$", b"f'{", b""),
        (b"x.launch()\n$", b"f'\\N{", b""),
        (b"x.launch", b"(", b""),
    ],
    "sanitizer": [
        (b"", b"\x1b]", b""),
        (b"", b"\xc2\x9d", b""),
        (b"", b"\x1b[0", b""),
        (b"", b"a\b", b""),
        (b"", b"\r", b""),
    ],
    "masker": [(b"", b"hf_abcdefghijk", b""), (b"", b"pa5", b""), (b"", b"pa55", b""), (b"", b"hf_abcdefghijkl", b"")],
    "report": [
        (b"", b"[", b"\n"),
        (b'{"ask":', b'{"a":', b"\n"),
        (b'{"a":"', b"\\u0000", b'"}\n'),
        (b'{"a":', b"9", b"}\n"),
    ],
    "chat": [(b"", b"[", b""), (b'{"model":"a","messages":[', b'{"role":"user","content":""},', b"{}]}")],
    "completion": [
        (b'{"model":"a","prompt":[', b"1,", b"1]}"),
        (b'{"model":"a","stop":[', b'"a",', b'"a"],"prompt":""}'),
    ],
    "tgi": [
        (b'{"inputs":"', b"![](data:", b'"}'),
        (b'{"inputs":"', b"![", b'"}'),
        (b'{"inputs":"', b"![](data:,)", b'"}'),
    ],
}
# The most that each takes: what is larger is refused before it is read.
MOST = {
    "ref": 4096,
    "front-matter": frontmatter.MAX_BYTES,
    "patcher": source.MAX_BYTES,
    "report": bridge.MAX_LINE,
}
LARGE = 512 * 1024  # bytes, for those that take more
CASES = [(name, *unit) for name, units in UNITS.items() for unit in units]
IDS = [f"{name}-{number}" for number, (name, *_) in enumerate(CASES)]


def test_no_parser_is_left_out() -> None:
    assert set(UNITS) == set(GRAMMARS) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_nearly_right(name: str, data: st.DataObject) -> None:
    raw = data.draw(GRAMMARS[name])
    quickly(lambda: TARGETS[name](raw))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=None)
@given(raw=st.binary(max_size=400) | st.binary(min_size=1, max_size=8).map(lambda unit: unit * (SMALL // len(unit))))
def test_any_bytes(name: str, raw: bytes) -> None:
    quickly(lambda: TARGETS[name](raw))


@pytest.mark.parametrize(("name", "head", "unit", "tail"), CASES, ids=IDS)
def test_what_grows(name: str, head: bytes, unit: bytes, tail: bytes) -> None:
    """16 KiB of it at once, and half a MiB, or all that is taken, within the time in which a parser is given up."""
    quickly(lambda: TARGETS[name](_sized(head, unit, tail, min(SMALL, MOST.get(name, SMALL)))))
    quickly(lambda: TARGETS[name](_sized(head, unit, tail, MOST.get(name, LARGE))), LARGE_S)


def _sized(head: bytes, unit: bytes, tail: bytes, size: int) -> bytes:
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail

"""Sources of any encoding and of newer Pythons keep every position."""

import ast

import pytest

from spaces_runner.pysource import Positions, Unreadable, blank_new_syntax, decode, parse

NEWER = {
    "own quotes inside": 'x = f"{d["a"]}"',
    "nested": "x = f'{f'{f'{1}'}'}'",
    "backslash in a field": "x = f\"{'\\n'.join(y)}\"",
    "comment and lines in a field": 'x = f"""{\n    y["a"]  # note }\n}"""',
    "raw with braces": 'x = rf"\\{y["a"]}\\d{{3}}"',
    "named character": 'x = f"\\N{DASH} {y["a"]}"',
    "quotes of the other kind": 'x = f"it\'s {d["a"]}", \'f"\', "#"',
    "in a comment": '# f"{\nx = f"{d["a"]}"',
    "type parameters": "def f[T: int](x: T) -> T: return x\nclass A[T](B): pass\nasync def g[*P](): pass",
    "type alias": "if 1:\n    type A[T] = list[T]\n    x = 1",
}


@pytest.mark.parametrize("text", NEWER.values(), ids=NEWER)
def test_newer_syntax_is_read_with_its_positions(text: str) -> None:
    blank = blank_new_syntax(text)
    assert len(blank) == len(text)
    assert [len(line) for line in blank.split("\n")] == [len(line) for line in text.split("\n")]
    assert parse(text + "\nmark = 1\n").body[-1].lineno == text.count("\n") + 2


def test_older_syntax_is_not_touched() -> None:
    text = "x = 'f' + \"it's\" # f'{\ny = rb'\\'' \nz = '''\"\"\"'''\n"
    assert blank_new_syntax(text) == text


def test_offsets_count_characters() -> None:
    text = "a = 'ü🤗'; b.c()\r\nd = '漢'; e.f()\n"
    positions = Positions(text)
    calls = [node for node in ast.walk(parse(text)) if isinstance(node, ast.Call)]
    places = [(positions.offset(call.lineno, call.col_offset), positions.end(call)) for call in calls]
    assert [text[start:end] for start, end in places] == ["b.c()", "e.f()"]


ENCODED = {
    "mark": b"\xef\xbb\xbfx = '\xc3\xa9'\r\n",
    "declared": b"# coding: cp1252\nx = '\xe9'\n",
    "plain": "x = 'é'\r".encode(),
}


@pytest.mark.parametrize("raw", ENCODED.values(), ids=ENCODED)
def test_encodings_come_back_as_they_were(raw: bytes) -> None:
    source = decode(raw)
    assert "é" in source.text
    assert source.encode(source.text) == raw


@pytest.mark.parametrize("raw", [b"x = '\xe9'\n", b"# coding: none-such\n"], ids=["undeclared", "unknown"])
def test_undecodable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(raw)


@pytest.mark.parametrize("text", ["print 'x'", "x = (", "\x00", "(" * 5000, "f'{" * 500], ids=range(5))
def test_unparsable(text: str) -> None:
    with pytest.raises(Unreadable):
        parse(text)

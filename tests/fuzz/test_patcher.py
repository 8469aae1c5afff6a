"""Whatever program is patched: the result is Python, launches share, and nothing else of it has changed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from spaces_runner import pysource
from spaces_runner.patch.source import patch_source, patch_tree
from spaces_runner.patch.writing import apply
from spaces_runner.types import Sdk, SpaceSpec
from tests.fuzz.pace import quickly
from tests.fuzz.programs import programs

ENDS = {"\n": "\n", "\r\n": "\r\n", "\r": "\r"}
BOM = b"\xef\xbb\xbf"


class WithoutShare(ast.NodeTransformer):
    """Takes out of each launch what a patch may put in."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "launch":
            node.args = [ast.Constant(...) if at in (2, 3) else one for at, one in enumerate(node.args)]
            node.keywords = [_without(one) for one in node.keywords if one.arg != "share"]
        return node


def _without(keyword: ast.keyword) -> ast.keyword:
    """`**{**kwargs, "share": True}` as `**kwargs`."""
    value = keyword.value
    if keyword.arg is None and isinstance(value, ast.Dict) and value.keys[:1] == [None] and len(value.keys) == 2:
        return ast.keyword(arg=None, value=value.values[0])
    return keyword


def shape(text: str) -> str:
    return ast.dump(WithoutShare().visit(pysource.parse(text)))


def compiles(text: str) -> bool:
    try:
        compile(text, "app.py", "exec", dont_inherit=True)
    except SyntaxError:  # `launch(share=1, share=2)`, which has a syntax tree all the same
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(text=programs())
def test_only_the_launches_change(text: str) -> None:
    assume(compiles(text))
    quickly(lambda: patch_source(text, "app.py"))
    patched = patch_source(text, "app.py")
    if patched is None:
        return
    assert compiles(patched.source)
    assert shape(patched.source) == shape(text)
    assert patch_source(patched.source, "app.py") is None


@pytest.mark.parametrize("end", ENDS.values(), ids=["line feed", "both", "carriage return"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=programs(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "latin-1"]))
def test_the_encoding_and_the_line_ends_stay(tmp_path: Path, end: str, text: str, encoding: str) -> None:
    assume(end != "\r" or encoding.startswith("utf-8"))  # Python reads a declaration up to a line feed
    declared = text if encoding.startswith("utf-8") else f"# -*- coding: {encoding} -*-\n{text.replace('🤗', '?')}"
    raw = declared.replace("\n", end).encode(encoding)
    (tmp_path / "app.py").write_bytes(raw)
    apply(patch_tree(tmp_path, SpaceSpec(sdk=Sdk.GRADIO, app_file="app.py")), tmp_path)
    written = (tmp_path / "app.py").read_bytes()
    assert written.startswith(BOM) == raw.startswith(BOM)
    assert pysource.decode(written).encoding == pysource.decode(raw).encoding
    assert set(re.findall(rb"\r\n|\r|\n", written)) <= {end.encode()}

"""Where a module calls Gradio's `launch`. Pure; edits nothing.

`p.chromium.launch()` is Playwright's and `kernel.launch(...)` is CUDA's, so each receiver is traced to what made it.
Where that is not conclusive, the answer is UNKNOWN, and the run time decides.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from spaces_runner.patch.bindings import Code
from spaces_runner.patch.libraries import WRAPPERS
from spaces_runner.patch.tracing import Kind, Value, Values, member, values


class Verdict(Enum):
    GRADIO = auto()
    UNBOUND = auto()  # `gr.Blocks.launch(demo, ...)`: one positional argument more
    OTHER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Launch:
    """A call of `.launch(...)`, or a mention of `gradio_object.launch` that something else will call."""

    verdict: Verdict
    node: ast.Call | ast.Attribute


def find(code: Code) -> Iterator[Launch]:
    """Every launch of a module, in the order of the text."""
    for node, scope in sorted(code.launches, key=lambda found: (found[0].lineno, found[0].col_offset)):
        call = code.callees.get(node)
        verdict = judge(values(node.value, scope))
        if call is not None:
            yield Launch(verdict, call)
        elif verdict is Verdict.GRADIO:  # `Thread(target=demo.launch)`: called by something else
            yield Launch(Verdict.UNKNOWN, node)


def judge(found: Values) -> Verdict:
    """Whose `launch` it is when the receiver may be any of `found`."""
    verdicts = {_verdict(value) for value in found if value.kind is not Kind.NOTHING}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.UNKNOWN


def _verdict(value: Value) -> Verdict:
    match value.kind:
        case Kind.APP:
            return Verdict.GRADIO
        case Kind.LIBRARY:
            return Verdict.UNBOUND
        case Kind.FOREIGN | Kind.MODULE | Kind.METHOD | Kind.CONTAINER | Kind.FUNCTION:
            return Verdict.OTHER
        case Kind.EXTERNAL:
            return Verdict.GRADIO if value.path in WRAPPERS else Verdict.UNKNOWN
        case Kind.INSTANCE | Kind.CLASS:
            bound = Verdict.GRADIO if value.kind is Kind.INSTANCE else Verdict.UNBOUND
            kinds = {found.kind for found in member(value, "launch", 0)}
            return {frozenset({Kind.METHOD}): bound, frozenset({Kind.UNKNOWN}): Verdict.UNKNOWN}.get(
                frozenset(kinds), Verdict.OTHER
            )
    return Verdict.UNKNOWN

"""What an expression of a module may be: Gradio's, something else's, or nobody can tell from the text. Pure.

Assignments, `with ... as`, imports (other modules of the Space included), returns of functions and attributes of
classes are followed. Order is not looked at: a name is everything that it is ever bound to in its scope. Where the work
is more than an honest module asks for, the answer is that nobody can tell.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from spaces_runner.patch.bindings import Binding, Calls, Code, Scope
from spaces_runner.patch.libraries import BROWSERS, FOREIGN_ROOTS, STDLIB

MAX_STEPS = 60  # of one trace: recursion in the Space's code must not be ours

_STAR_NAMES = frozenset({"Blocks", "Interface", "ChatInterface", "TabbedInterface", "Parallel", "Series", "load"})


class Kind(Enum):
    LIBRARY = auto()  # gradio, or anything in it that was not called yet
    APP = auto()  # what calling something of gradio gave
    METHOD = auto()  # of an APP
    MODULE = auto()  # of the Space itself
    FUNCTION = auto()
    CLASS = auto()
    INSTANCE = auto()  # of a class of the Space
    CONTAINER = auto()  # a literal list, tuple, set or dict
    EXTERNAL = auto()  # of a library that may well hand out Gradio's objects
    FOREIGN = auto()  # certainly not Gradio's
    NOTHING = auto()  # None
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Value:
    kind: Kind
    node: ast.AST | None = None
    scope: Scope | None = None  # where `node` stands; for a MODULE its top level
    path: str = ""  # dotted, of METHOD and EXTERNAL


Values: TypeAlias = frozenset[Value]


_NONE: Values = frozenset()
_UNKNOWN: Values = frozenset({Value(Kind.UNKNOWN)})
_FOREIGN: Values = frozenset({Value(Kind.FOREIGN)})
_APP: Values = frozenset({Value(Kind.APP)})
_LIBRARY: Values = frozenset({Value(Kind.LIBRARY)})
_LITERALS = (ast.Constant, ast.JoinedStr, ast.Compare, ast.BinOp, ast.UnaryOp)
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


def values(node: ast.AST, scope: Scope, step: int = 0) -> Values:
    """Everything that the expression `node` in `scope` may be."""
    if step > MAX_STEPS or not scope.code.may_step():
        return _UNKNOWN
    match node:
        case ast.Name():
            return _named(node.id, scope, step + 1)
        case ast.Attribute():
            return _each(values(node.value, scope, step + 1), lambda value: member(value, node.attr, step + 1))
        case ast.Call():
            return _called(node, scope, step + 1)
        case ast.Await() | ast.NamedExpr() | ast.Starred():
            return values(node.value, scope, step + 1)
        case ast.IfExp():
            return values(node.body, scope, step + 1) | values(node.orelse, scope, step + 1)
        case ast.BoolOp():
            return _union(values(one, scope, step + 1) for one in node.values)
        case ast.Subscript():
            return _each(values(node.value, scope, step + 1), lambda value: _elements(value, step + 1))
        case ast.Constant(value=None):
            return frozenset({Value(Kind.NOTHING)})
        case ast.Lambda():
            return frozenset({Value(Kind.FUNCTION, node, scope)})
    if isinstance(node, _CONTAINERS):
        return frozenset({Value(Kind.CONTAINER, node, scope)})
    return _FOREIGN if isinstance(node, _LITERALS) else _UNKNOWN


def _union(found: Iterable[Values]) -> Values:
    return _NONE.union(*found)


def _each(found: Values, read: Callable[[Value], Values]) -> Values:
    return _union(read(value) for value in found)


def _named(name: str, scope: Scope, step: int) -> Values:
    at: Scope | None = scope
    while at is not None:
        at = at.elsewhere.get(name, at)
        bindings = at.names.get(name, ()) if at is scope or not at.is_class else ()
        if bindings:
            return _any_of(bindings, step)
        at = at.parent
    return _starred(name, scope.code, step)


def _starred(name: str, code: Code, step: int) -> Values:
    """A name that only `from x import *` can have brought."""
    for star in code.stars:
        if star.partition(".")[0] == "gradio" and name in _STAR_NAMES:
            return _LIBRARY
        module = code.find_module(star.lstrip("."), len(star) - len(star.lstrip(".")))
        if module is not None and name in module.top.names and step < MAX_STEPS:
            return _named(name, module.top, step + 1)
    return _UNKNOWN


def _any_of(bindings: Sequence[Binding], step: int) -> Values:
    """What any of `bindings` gives. One that is bound very often may be anything."""
    found: set[Value] = set()
    for binding in bindings:
        if not binding.scope.code.may_step():
            return _UNKNOWN
        found |= _bound(binding, step)
    return frozenset(found)


def _bound(binding: Binding, step: int) -> Values:
    """What `binding` gives, traced once: names that are bound many times would else be a tree of exponential size."""
    traced: dict[object, Values] = binding.scope.code.traced
    if binding not in traced:
        traced[binding] = _NONE  # while it is being traced: `demo = demo.queue()` adds nothing to itself
        traced[binding] = _READERS[binding.how](binding, step + 1) if step < MAX_STEPS else _UNKNOWN
    return traced[binding]


def _read_import(binding: Binding, step: int) -> Values:
    return _module(binding.detail, 0, binding.scope.code)


def _read_from(binding: Binding, step: int) -> Values:
    node, code = binding.node, binding.scope.code
    if not isinstance(node, ast.ImportFrom):
        return _UNKNOWN
    base = _module(node.module or "", node.level, code)
    found = _each(base, lambda value: member(value, binding.detail, step))
    if any(value.kind is Kind.UNKNOWN for value in found) and node.level + len(node.module or ""):
        inner = code.find_module(".".join(filter(None, (node.module, binding.detail))), node.level)
        if inner is not None:  # `from package import module`
            return frozenset({Value(Kind.MODULE, scope=inner.top)})
    return found


def _module(name: str, level: int, code: Code) -> Values:
    root = name.partition(".")[0]
    if not level and root == "gradio":
        return _LIBRARY
    local = code.find_module(name, level)
    if local is not None:
        return frozenset({Value(Kind.MODULE, scope=local.top)})
    if level:
        return _UNKNOWN
    return _FOREIGN if root in FOREIGN_ROOTS or root in STDLIB else frozenset({Value(Kind.EXTERNAL, path=name)})


def _read_function(binding: Binding, step: int) -> Values:
    return frozenset({Value(Kind.FUNCTION, binding.node, binding.scope)})


def _read_class(binding: Binding, step: int) -> Values:
    return frozenset({Value(Kind.CLASS, binding.node, binding.scope)})


def _read_self(binding: Binding, step: int) -> Values:
    scope = binding.scope
    return frozenset({Value(Kind.INSTANCE, scope.node, scope.parent)})


def _read_value(binding: Binding, step: int) -> Values:
    """An assignment, or `with x as name`: Gradio's objects and those of the Space's classes give themselves."""
    return values(binding.node, binding.scope, step)


def _read_element(binding: Binding, step: int) -> Values:
    return _each(values(binding.node, binding.scope, step), lambda value: _elements(value, step))


def _read_annotation(binding: Binding, step: int) -> Values:
    return _each(values(binding.node, binding.scope, step), lambda value: _call(value, step))


def _read_parameter(binding: Binding, step: int) -> Values:
    """A parameter is what its annotation says, else its default and what this module's calls hand over."""
    function, scope = binding.node, binding.scope
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return _UNKNOWN
    plain = [*function.args.posonlyargs, *function.args.args]
    annotation = next(
        (one.annotation for one in [*plain, *function.args.kwonlyargs] if one.arg == binding.detail), None
    )
    if annotation is not None:
        said = _read_annotation(Binding("annotation", annotation, scope), step)
        if said and not any(value.kind is Kind.UNKNOWN for value in said):
            return said
    index = next((at for at, one in enumerate(plain) if one.arg == binding.detail), None)
    if scope.is_class and index is not None:
        index -= 1  # self
    calls = _calls_of(function, scope, step)
    return _union(_given(call, binding.detail, index, at, step) for call, at in calls) or _UNKNOWN


def _calls_of(function: ast.AST, scope: Scope, step: int) -> Calls:
    """The calls that reach `function`, which is defined in `scope`; of `__init__` those of its class."""
    target = scope.node if getattr(function, "name", "") == "__init__" and scope.is_class else function
    name = getattr(target, "name", "")

    def reaches(value: Value) -> bool:
        same_file = value.scope is not None and value.scope.code.path == scope.code.path
        return same_file and getattr(value.node, "name", "") == name

    calls = scope.code.calls_anywhere(name) if name else []
    return [(call, at) for call, at in calls if any(map(reaches, values(call.func, at, step + 1)))]


def _given(call: ast.Call, name: str, index: int | None, scope: Scope, step: int) -> Values:
    """What `call` hands over as the parameter `name`."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return values(keyword.value, scope, step)
    if index is not None and 0 <= index < len(call.args):
        return values(call.args[index], scope, step)
    return _UNKNOWN


_READERS: dict[str, Callable[[Binding, int], Values]] = {
    "import": _read_import,
    "from": _read_from,
    "function": _read_function,
    "class": _read_class,
    "self": _read_self,
    "value": _read_value,
    "enter": _read_value,
    "element": _read_element,
    "annotation": _read_annotation,
    "parameter": _read_parameter,
    "unknown": lambda binding, step: _UNKNOWN,
}


def _elements(value: Value, step: int) -> Values:
    if value.kind is not Kind.CONTAINER or value.scope is None:
        return _FOREIGN if value.kind is Kind.FOREIGN else _UNKNOWN
    node, scope = value.node, value.scope
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return _union(values(one, scope, step) for one in node.elts)
    if isinstance(node, ast.Dict):
        return _union(values(one, scope, step) for one in node.values)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return values(node.elt, scope, step)
    return values(node.value, scope, step) if isinstance(node, ast.DictComp) else _UNKNOWN


def member(value: Value, name: str, step: int) -> Values:
    """What `value.name` may be."""
    match value.kind:
        case Kind.LIBRARY | Kind.FOREIGN:
            return frozenset({value})
        case Kind.APP:
            return frozenset({Value(Kind.METHOD, path=name)})
        case Kind.EXTERNAL:
            return _FOREIGN if name in BROWSERS else frozenset({Value(Kind.EXTERNAL, path=f"{value.path}.{name}")})
        case Kind.MODULE if value.scope is not None:
            return _named(name, value.scope, step + 1) if step < MAX_STEPS else _UNKNOWN
        case Kind.CLASS | Kind.INSTANCE:
            return _class_member(value, name, step + 1)
        case Kind.CONTAINER | Kind.METHOD:
            return _FOREIGN if name != "values" else frozenset({value})
    return _FOREIGN if name in BROWSERS else _UNKNOWN


def _class_member(value: Value, name: str, step: int) -> Values:
    node, scope = value.node, value.scope
    if not isinstance(node, ast.ClassDef) or scope is None or step > MAX_STEPS:
        return _UNKNOWN
    inner = scope.code.scopes.get(node)
    if inner is None:
        return _UNKNOWN
    bindings = [*inner.attributes.get(name, ()), *inner.names.get(name, ())]
    if bindings:
        found = _any_of(bindings, step + 1)
        return _each(found, lambda one: _property(one, step + 1))
    return _union(_each(values(base, scope, step + 1), lambda one: _inherited(one, name, step + 1))
                  for base in node.bases) or _UNKNOWN  # fmt: skip


def _property(value: Value, step: int) -> Values:
    """A method that is a property stands for what it returns."""
    decorators = getattr(value.node, "decorator_list", [])
    names = {getattr(one, "id", getattr(one, "attr", "")) for one in decorators}
    is_property = value.kind is Kind.FUNCTION and names & {"property", "cached_property"}
    return _call(value, step) if is_property else frozenset({value})


def _inherited(base: Value, name: str, step: int) -> Values:
    if base.kind is Kind.LIBRARY:
        return frozenset({Value(Kind.METHOD, path=name)})
    return _class_member(base, name, step) if base.kind is Kind.CLASS else _UNKNOWN


def _called(node: ast.Call, scope: Scope, step: int) -> Values:
    match node:
        case ast.Call(func=ast.Name(id="super")):
            return _parent_object(scope, step)
        case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
            name = getattr(node.args[0], "value", None) if node.args else None
            return _module(name, 0, scope.code) if isinstance(name, str) else _UNKNOWN
    return _each(values(node.func, scope, step), lambda value: _call(value, step))


def _parent_object(scope: Scope, step: int) -> Values:
    at: Scope | None = scope
    while at is not None and not at.is_class:
        at = at.parent
    if at is None or at.parent is None or not isinstance(at.node, ast.ClassDef):
        return _UNKNOWN
    outer = at.parent
    bases = _union(values(base, outer, step) for base in at.node.bases)
    return _each(bases, lambda value: _call(value, step))


def _call(value: Value, step: int) -> Values:
    """What calling `value` may give."""
    match value.kind:
        case Kind.LIBRARY:
            return _APP
        case Kind.METHOD:
            return _APP if value.path in ("queue", "__enter__") else _FOREIGN
        case Kind.FUNCTION if value.scope is not None and value.node is not None and step < MAX_STEPS:
            return _returned(value.scope.code.scopes.get(value.node), step + 1)
        case Kind.CLASS:
            return frozenset({Value(Kind.INSTANCE, value.node, value.scope)})
        case Kind.EXTERNAL:
            return frozenset({Value(Kind.EXTERNAL, path=f"{value.path}()")})
        case Kind.FOREIGN:
            return _FOREIGN
        case Kind.CONTAINER:  # `demos.values()`
            return frozenset({value})
    return _UNKNOWN


def _returned(function: Scope | None, step: int) -> Values:
    """What calling `function` may give, traced once."""
    if function is None:
        return _UNKNOWN
    traced: dict[object, Values] = function.code.traced
    if function not in traced:
        traced[function] = _NONE
        traced[function] = _union(values(one, function, step) for one in function.returns)
    return traced[function] or frozenset({Value(Kind.NOTHING)})

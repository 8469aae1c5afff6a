"""What binds each name of a module: its scopes, collected in one pass over the syntax tree. Pure; judges nothing."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# How much may be traced in a module, so that the time is linear in its size whatever it holds. Real Spaces need a
# quarter of a step for each node of their syntax tree.
BASE_STEPS, STEPS_PER_NODE = 2000, 16


@dataclass(frozen=True, slots=True)
class Binding:
    """One way a name gets its value. `how` says what `node` is to it; `detail` is a name where one is needed."""

    how: str  # import, from, function, class, self, parameter, annotation, value, enter, element, unknown
    node: ast.AST
    scope: Scope
    detail: str = ""


@dataclass(slots=True, eq=False)
class Scope:
    node: ast.AST
    code: Code
    parent: Scope | None = None
    names: dict[str, list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)  # of a class: what methods set on self
    returns: list[ast.expr] = field(default_factory=list)
    elsewhere: dict[str, Scope] = field(default_factory=dict)  # names that `global` and `nonlocal` send away

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)


Calls: TypeAlias = "list[tuple[ast.Call, Scope]]"


class Tree:
    """The other modules of a Space. This one has none; `patch` has one that reads files."""

    def module(self, name: str, level: int, seen_from: str) -> Code | None:
        """The module that `import name` finds in the file `seen_from`; `level` counts the dots of a relative one."""
        return None

    def calls(self, name: str) -> Calls:
        """The calls, in any file, of something whose last part is `name`."""
        return []


class Code:
    """The names of one module: the file `path` of `world`."""

    def __init__(self, tree: ast.Module, path: str = "", world: Tree | None = None) -> None:
        self.path = path
        self.world = world or Tree()
        self.top = Scope(node=tree, code=self)
        self.scopes: dict[ast.AST, Scope] = {tree: self.top}
        self.calls: dict[str, Calls] = {}  # by the last part of what is called
        self.launches: list[tuple[ast.Attribute, Scope]] = []  # every `x.launch`
        self.callees: dict[ast.AST, ast.Call] = {}
        self.stars: list[str] = []  # modules of `from module import *`, with the dots of relative ones
        self.traced: dict[object, Any] = {}  # `tracing` keeps there what it found out
        self.steps_left = BASE_STEPS
        stack: list[tuple[ast.AST, Scope]] = [(tree, self.top)]
        while stack:  # not a NodeVisitor: a sum of a thousand strings nests a thousand deep
            node, scope = stack.pop()
            inner = _collect(node, scope)
            stack.extend((child, inner) for child in ast.iter_child_nodes(node))
            self.steps_left += STEPS_PER_NODE

    def may_step(self) -> bool:
        """Whether one more step of tracing in this module is allowed; counts it."""
        self.steps_left -= 1
        return self.steps_left >= 0

    def find_module(self, name: str, level: int) -> Code | None:
        return self.world.module(name, level, self.path)

    def calls_anywhere(self, name: str) -> Calls:
        """The calls of `name` here and in the Space's other files."""
        others = [found for found in self.world.calls(name) if found[1].code.path != self.path]
        return [*self.calls.get(name, ()), *others]


def _collect(node: ast.AST, scope: Scope) -> Scope:
    """Notes what `node` binds in `scope`; returns the scope of its children."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        return _definition(node, scope)
    if isinstance(node, ast.Import | ast.ImportFrom):
        _import(node, scope)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
        _assignment(node, scope)
    elif isinstance(node, ast.Return | ast.Yield) and node.value is not None:
        scope.returns.append(node.value)
    elif isinstance(node, ast.Global | ast.Nonlocal):
        _send_away(node, scope)
    elif isinstance(node, ast.Call):
        _note_call(node, scope)
    elif isinstance(node, ast.Attribute) and node.attr == "launch":
        scope.code.launches.append((node, scope))
    else:
        _block(node, scope)
    return scope


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef, scope: Scope) -> Scope:
    if isinstance(node, ast.ClassDef):
        _bind(scope, node.name, Binding("class", node, scope))
        return _enter(node, scope)
    inner = _function(node, scope)
    if isinstance(node, ast.Lambda):
        inner.returns.append(node.body)
    else:
        _bind(scope, node.name, Binding("function", node, scope))
    return inner


def _assignment(node: ast.Assign | ast.AnnAssign | ast.NamedExpr, scope: Scope) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if node.value is not None:
            _assign(target, node.value, scope)
        elif isinstance(node, ast.AnnAssign):
            _target(target, Binding("annotation", node.annotation, scope), scope)


def _block(node: ast.AST, scope: Scope) -> None:
    """The names of `with` and `for`."""
    if isinstance(node, ast.withitem) and node.optional_vars is not None:
        _target(node.optional_vars, Binding("enter", node.context_expr, scope), scope)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        _target(node.target, Binding("element", node.iter, scope), scope)


def _bind(scope: Scope, name: str, binding: Binding) -> None:
    scope.elsewhere.get(name, scope).names.setdefault(name, []).append(binding)


def _enter(node: ast.AST, scope: Scope) -> Scope:
    inner = Scope(node=node, code=scope.code, parent=scope)
    scope.code.scopes[node] = inner
    return inner


def _import(node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            root = alias.name if alias.asname else alias.name.partition(".")[0]
            _bind(scope, alias.asname or root, Binding("import", node, scope, root))
        return
    for alias in node.names:
        if alias.name == "*":
            scope.code.stars.append("." * node.level + (node.module or ""))
        else:
            _bind(scope, alias.asname or alias.name, Binding("from", node, scope, alias.name))


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> Scope:
    inner = _enter(node, scope)
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    for index, argument in enumerate([*plain, *arguments.kwonlyargs]):
        is_self = index == 0 and scope.is_class and bool(plain)
        how = "self" if is_self else "parameter"
        _bind(inner, argument.arg, Binding(how, node, scope, argument.arg))
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            _bind(inner, extra.arg, Binding("unknown", node, scope))
    return inner


def _assign(target: ast.expr, value: ast.expr, scope: Scope) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        if same and isinstance(value, ast.Tuple | ast.List):
            for one, its in zip(target.elts, value.elts, strict=True):
                _assign(one, its, scope)
            return
    _target(target, Binding("value", value, scope), scope)


def _target(target: ast.expr, binding: Binding, scope: Scope) -> None:
    if isinstance(target, ast.Name):
        _bind(scope, target.id, binding)
    elif isinstance(target, ast.Attribute):
        owner = _class_of_self(target.value, scope)
        if owner is not None:
            owner.attributes.setdefault(target.attr, []).append(binding)
    elif isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            _target(one, Binding("unknown", binding.node, scope), scope)
    elif isinstance(target, ast.Starred):
        _target(target.value, Binding("unknown", binding.node, scope), scope)


def _class_of_self(node: ast.expr, scope: Scope) -> Scope | None:
    """The class whose instance `node` is, when `node` is the first parameter of a method around `scope`."""
    at: Scope | None = scope
    while at is not None and isinstance(node, ast.Name):
        for binding in at.names.get(node.id, ()):
            return binding.scope if binding.how == "self" else None
        at = at.parent
    return None


def _send_away(node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
    for name in node.names:
        target = scope.code.top if isinstance(node, ast.Global) else scope.parent
        if target is not None:
            for binding in scope.names.pop(name, ()):  # the tree is not walked in the text's order
                target.names.setdefault(name, []).append(binding)
            scope.elsewhere[name] = target


def _note_call(node: ast.Call, scope: Scope) -> None:
    code = scope.code
    if isinstance(node.func, ast.Attribute):
        code.callees[node.func] = node
        code.calls.setdefault(node.func.attr, []).append((node, scope))
    elif isinstance(node.func, ast.Name):
        code.calls.setdefault(node.func.id, []).append((node, scope))

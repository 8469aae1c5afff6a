"""One argument of a call set to True, in the text of the argument list. Comments, line ends and the rest stay.

Each function takes the list from parenthesis to parenthesis, and gives it back changed. Importing this imports libcst,
which takes a quarter of a second. Raises `pysource.Unreadable` for a list that libcst cannot parse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst

from spaces_runner.pysource import Unreadable

_TRUE = cst.Name("True")
_NO_SPACE = cst.SimpleWhitespace("")
_SPACE = cst.SimpleWhitespace(" ")


def set_keyword(arguments: str, name: str) -> str:
    """`name=<anything>` becomes `name=True`."""
    return _edit(arguments, lambda call: [_named(arg, name) for arg in call.args])


def set_positional(arguments: str, index: int) -> str:
    """The positional argument at `index` becomes True."""
    return _edit(
        arguments,
        lambda call: [arg.with_changes(value=_TRUE) if at == index else arg for at, arg in enumerate(call.args)],
    )


def set_unpacked(arguments: str, name: str) -> str:
    """`**kwargs` becomes `**{**kwargs, "name": True}`, which holds whether or not kwargs has the name."""
    return _edit(arguments, lambda call: [_unpacked(arg, name) for arg in call.args])


def add_keyword(arguments: str, name: str, index: int) -> str:
    """`name=True` is added after the first `index` arguments, the positional ones."""
    return _edit(arguments, lambda call: _added(call, name, index))


def _edit(arguments: str, change: Callable[[cst.Call], Sequence[cst.Arg]]) -> str:
    try:
        module = cst.parse_module(f"launch{arguments}")
    except cst.ParserSyntaxError as exc:
        raise Unreadable(exc.message) from exc
    line = cst.ensure_type(module.body[0], cst.SimpleStatementLine)
    statement = cst.ensure_type(line.body[0], cst.Expr)
    call = cst.ensure_type(statement.value, cst.Call)
    statement = statement.with_changes(value=call.with_changes(args=change(call)))
    changed = module.with_changes(body=[line.with_changes(body=[statement])])
    return changed.code.removeprefix("launch")


def _named(arg: cst.Arg, name: str) -> cst.Arg:
    found = arg.keyword is not None and arg.keyword.value == name
    return arg.with_changes(value=_TRUE) if found else arg


def _unpacked(arg: cst.Arg, name: str) -> cst.Arg:
    if arg.star != "**":
        return arg
    value = arg.value
    if not isinstance(value, cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.Dict) and not value.lpar:
        value = value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])  # `**a or b` is none in a dict
    old = cst.StarredDictElement(value, comma=cst.Comma(whitespace_after=_SPACE))
    return arg.with_changes(value=cst.Dict([old, cst.DictElement(cst.SimpleString(f'"{name}"'), _TRUE)]))


def _added(call: cst.Call, name: str, index: int) -> list[cst.Arg]:
    equal = cst.AssignEqual(whitespace_before=_NO_SPACE, whitespace_after=_NO_SPACE)
    new = cst.Arg(_TRUE, keyword=cst.Name(name), equal=equal)
    args = list(call.args)
    if index < len(args):  # before the first keyword: nothing of what follows, comments included, need move
        space = _separator(call.whitespace_before_args) if index == 0 else _SPACE
        return [*args[:index], new.with_changes(comma=cst.Comma(whitespace_after=space)), *args[index:]]
    return [*args[:-1], *_after(args[-1], new)] if args else [new]


def _separator(before: cst.BaseParenthesizableWhitespace) -> cst.BaseParenthesizableWhitespace:
    """What stands between two arguments where `before` stands between the parenthesis and the first."""
    if isinstance(before, cst.ParenthesizedWhitespace):
        end = before.first_line.newline
        return before.with_changes(first_line=cst.TrailingWhitespace(newline=end), empty_lines=[])
    return _SPACE


def _after(last: cst.Arg, new: cst.Arg) -> list[cst.Arg]:
    """`last` and `new` behind it, with what followed `last` now following `new`."""
    comma = cst.Comma(whitespace_after=_SPACE)
    if isinstance(last.comma, cst.Comma):
        return [last.with_changes(comma=comma), new.with_changes(comma=last.comma)]
    space = last.whitespace_after_arg
    return [
        last.with_changes(comma=comma, whitespace_after_arg=_NO_SPACE),
        new.with_changes(whitespace_after_arg=space),
    ]

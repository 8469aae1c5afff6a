"""`share=True` in every call of Gradio's `launch`: the visible half of forcing a public link.

`ast` and `launches` say which calls and what is to change in their arguments; libcst changes just the argument list, so
every other byte of the file stays. What the text cannot tell is left to the bootstrap, which binds the arguments at run
time, and is said in a finding.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path, PurePosixPath

from spaces_runner import pysource
from spaces_runner.patch.bindings import Calls, Code, Tree
from spaces_runner.patch.launches import Launch, Verdict, find
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Finding, Patch, PatchedFile, Severity, SpaceSpec

SHARE_POSITION = 2  # launch(self, inline, inbrowser, share, ...), from Gradio 2 to 6
MAX_FILES = 4000
MAX_BYTES = 256 * 1024  # of a file that is changed; the densest of this size takes some seconds
MAX_ARGUMENTS = 100  # of one launch; Gradio's takes forty
MAX_LAUNCHES = 200  # in one file; nobody writes ten
MAX_ROUNDS = 8  # a launch inside another launch's arguments is edited in a round of its own
_SKIPPED_DIRS = frozenset({".git", "node_modules", "__pycache__", "site-packages", ".venv", "venv", "env"})
_OPENING = re.compile(r"(?:[\s)\\]|#[^\r\n]*)*(?=\()")  # between what is called and its argument list


class Change(Enum):
    NONE = auto()  # shares already
    KEYWORD = auto()  # share=<anything>
    POSITIONAL = auto()
    UNPACKED = auto()  # **kwargs may hold share: it is put into them
    ADDED = auto()
    RUN_TIME = auto()  # *args, or several **kwargs: the text cannot tell where share is


def patch_source(source: str, path: str) -> PatchedFile | None:
    """`source`, the text of the file `path`, with every launch sharing; None when there is nothing to change. Pure."""
    return _Patcher(world=Tree()).file(source, path)


def patch_tree(root: Path, spec: SpaceSpec) -> Patch:
    """What changes in the tree at `root`. Reads every .py file that speaks of launching; writes nothing."""
    sources = _Sources(root, str(PurePosixPath(spec.app_file).parent))
    files: list[PatchedFile] = []
    findings: list[Finding] = []
    for path in _python_files(root):
        name = path.relative_to(root).as_posix()
        try:
            text = _launching_text(path)
            patcher = _Patcher(world=sources)
            patched = patcher.file(text, name) if text else None
        except pysource.Unreadable as exc:
            findings.append(_unreadable(name, exc))
            continue
        findings += patcher.findings
        files += [patched] if patched else []
    return Patch(files=tuple(files), findings=tuple(findings))


# Which files.


def _python_files(root: Path) -> Iterator[Path]:
    """The .py files of the tree, symbolic links and other people's packages left out."""
    count = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in _SKIPPED_DIRS)
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".py") and not path.is_symlink() and path.is_file():
                count += 1
                if count > MAX_FILES:
                    return
                yield path


def _launching_text(path: Path) -> str:
    """The text of the file at `path`, "" when it does not speak of launching. Raises Unreadable."""
    if path.stat().st_size > pysource.MAX_BYTES:
        return ""  # data, not a program
    raw = path.read_bytes()
    if b"launch" not in raw:
        return ""
    if len(raw) > MAX_BYTES:
        raise pysource.Unreadable(f"it is larger than {MAX_BYTES // 1024} KiB")
    return pysource.decode(raw).text


class _Sources(Tree):
    """The Space's own modules, each read once and only when a name leads there."""

    def __init__(self, root: Path, app_dir: str) -> None:
        self._root = root
        self._folders = (root / app_dir, root)
        self._codes: dict[str, Code | None] = {}
        self._texts: dict[str, str] | None = None

    def module(self, name: str, level: int, seen_from: str) -> Code | None:
        here = (self._root / seen_from).parent
        above = [here, *here.parents]
        folders = (above[min(level - 1, len(above) - 1)],) if level else (*self._folders, here)
        for folder in folders:
            base = folder.joinpath(*name.split(".")) if name else folder
            for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                if path.is_relative_to(self._root) and pysource.is_file(path):
                    return self.code(path.relative_to(self._root).as_posix())
        return None

    def calls(self, name: str) -> Calls:
        if self._texts is None:
            self._texts = dict(self._all_texts())
        codes = [self.code(path) for path, text in self._texts.items() if name in text]
        return [call for code in codes if code for call in code.calls.get(name, ())]

    def code(self, path: str) -> Code | None:
        """The names of the file `path`; None when it cannot be read."""
        if path not in self._codes:
            self._codes[path] = None
            real = self._root / path
            if real.resolve().is_relative_to(self._root.resolve()):
                with suppress(pysource.Unreadable):
                    self._codes[path] = Code(pysource.parse(pysource.read(real).text), path, self)
        return self._codes[path]

    def _all_texts(self) -> Iterator[tuple[str, str]]:
        for path in _python_files(self._root):
            with suppress(pysource.Unreadable):
                yield path.relative_to(self._root).as_posix(), pysource.read(path).text


# One file.


@dataclass(slots=True)
class _Patcher:
    world: Tree
    findings: list[Finding] = field(default_factory=list)

    def file(self, source: str, path: str) -> PatchedFile | None:
        """The file with every launch sharing. A file that cannot be parsed is left alone, with a finding."""
        if "launch" not in source:
            return None
        text = source
        try:
            tree = pysource.parse(source)
            for _ in range(MAX_ROUNDS):
                edited = self._round(tree, text, path)
                if edited == text:
                    break
                text, tree = edited, pysource.parse(edited)
        except pysource.Unreadable as exc:
            self.findings.append(_unreadable(path, exc))
            return None
        return None if text == source else PatchedFile(path=path, source=text, diff=unified_diff(source, text, path))

    def _round(self, tree: ast.Module, text: str, path: str) -> str:
        """`text`, whose tree is `tree`, with those launches edited that do not overlap. Raises Unreadable."""
        self.findings.clear()
        positions = pysource.Positions(text)
        edits: list[tuple[int, int, str]] = []
        code = Code(tree, path, self.world)
        if len(code.launches) > MAX_LAUNCHES:
            raise pysource.Unreadable(f"it launches more than {MAX_LAUNCHES} times")
        for launch in find(code):
            change = self._change(launch, path, text)
            if change is None:
                continue
            start, end = _arguments(text, positions, change.call)
            if not any(start < its_end and its_start < end for its_start, its_end, _ in edits):
                edits.append((start, end, _edited(text[start:end], change)))
        for start, end, replacement in sorted(edits, reverse=True):
            text = text[:start] + replacement + text[end:]
        return text

    def _change(self, launch: Launch, path: str, text: str) -> _Edit | None:
        node = launch.node
        if launch.verdict is Verdict.OTHER:
            return None
        if isinstance(node, ast.Attribute):
            self._leave(node, path, text, "is handed on and called elsewhere")
            return None
        if len(node.args) + len(node.keywords) > MAX_ARGUMENTS:
            self._leave(node, path, text, f"is called with more than {MAX_ARGUMENTS} arguments")
            return None
        offset = 1 if launch.verdict is Verdict.UNBOUND else 0
        edit = plan_change(node, SHARE_POSITION + offset)
        if edit.change is Change.NONE:
            return None
        if launch.verdict is Verdict.UNKNOWN:  # a `share=` shows nothing: others' launchers take one, too
            self._leave(node, path, text, "is called on something the text does not show to be Gradio's")
            return None
        if edit.change is Change.RUN_TIME:
            self._leave(node, path, text, "takes arguments that are known at run time only")
            return None
        return edit

    def _leave(self, node: ast.expr, path: str, text: str, why: str) -> None:
        line = text.split("\n")[node.lineno - 1 : node.lineno]
        self.findings.append(
            Finding(
                code="launch-at-run-time",
                severity=Severity.INFO,
                message=f"{path}, line {node.lineno}: launch {why}; sharing is decided at run time.",
                lines=tuple(clean_line(one.strip())[:200] for one in line),
            )
        )


@dataclass(frozen=True, slots=True)
class _Edit:
    change: Change
    call: ast.Call
    index: int = 0  # of the argument that changes, or before which one is added


def plan_change(call: ast.Call, share_position: int = SHARE_POSITION) -> _Edit:
    """What must change in the arguments of a launch `call`. Pure."""
    names = [keyword.arg for keyword in call.keywords]
    if "share" in names:
        at = names.index("share")
        done = _is_true(call.keywords[at].value)
        return _Edit(Change.NONE if done else Change.KEYWORD, call)
    if any(isinstance(one, ast.Starred) for one in call.args[: share_position + 1]):
        return _Edit(Change.RUN_TIME, call)
    if len(call.args) > share_position:
        done = _is_true(call.args[share_position])
        return _Edit(Change.NONE if done else Change.POSITIONAL, call, share_position)
    unpacked = [keyword.value for keyword in call.keywords if keyword.arg is None]
    if not unpacked:
        return _Edit(Change.ADDED, call, len(call.args))
    if len(unpacked) > 1:
        return _Edit(Change.RUN_TIME, call)
    return _Edit(Change.NONE if _holds_share(unpacked[0]) else Change.UNPACKED, call)


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _holds_share(node: ast.expr) -> bool:
    """Whether `node` is a literal dict whose last entry is "share": True."""
    if not isinstance(node, ast.Dict) or not node.keys:
        return False
    key = node.keys[-1]
    return isinstance(key, ast.Constant) and key.value == "share" and _is_true(node.values[-1])


def _arguments(text: str, positions: pysource.Positions, call: ast.Call) -> tuple[int, int]:
    """Where the argument list of `call` begins and ends, parentheses included."""
    end = positions.end(call)
    after = positions.end(call.func)
    opening = _OPENING.match(text, after, end)
    if opening is None:
        raise pysource.Unreadable(f"line {call.lineno}: the argument list of launch was not found")
    return opening.end(), end


def _edited(arguments: str, edit: _Edit) -> str:
    """`arguments`, from parenthesis to parenthesis, with share in them."""
    from spaces_runner.patch import arguments as lists  # libcst: a quarter of a second, only where a file must change

    match edit.change:
        case Change.KEYWORD:
            return lists.set_keyword(arguments, "share")
        case Change.POSITIONAL:
            return lists.set_positional(arguments, edit.index)
        case Change.UNPACKED:
            return lists.set_unpacked(arguments, "share")
    return lists.add_keyword(arguments, "share", edit.index)


def _unreadable(path: str, exc: pysource.Unreadable) -> Finding:
    return Finding(
        code="not-patched",
        severity=Severity.WARNING,
        message=f"{path} was left as it is: {clean_line(str(exc))[:300]}. Sharing is decided at run time.",
    )


def unified_diff(before: str, after: str, path: str) -> str:
    """The change as `git apply` takes it, line ends of the file included."""
    old, new = (re.split(r"(?<=\n)", text) for text in (before, after))
    lines = difflib.unified_diff([x for x in old if x], [x for x in new if x], f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

"""What a Space's own code asks of the world: modules, environment variables, models, a GPU. Parses, runs nothing.

Starts at the app file and follows imports (and the files that it starts by name) through the tree, each read once.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spaces_runner import pysource

MAX_FILES = 300
MAX_TOTAL_BYTES = 6 * 1024**2
MAX_NAME = 200  # characters of a module that may be a file

# Modules of the standard library of other versions than the runner's.
_OTHER_STDLIB = frozenset(
    {"distutils", "imp", "asyncore", "asynchat", "smtpd", "audioop", "cgi", "cgitb", "crypt", "imghdr", "mailcap"}
    | {"msilib", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"}
    | {"lib2to3", "formatter", "parser", "symbol", "binhex", "tomllib", "compression", "annotationlib", "this"}
)
STDLIB = frozenset(sys.stdlib_module_names) | _OTHER_STDLIB | {"__future__", "__main__"}

_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_KEY_ERRORS = frozenset({"KeyError", "LookupError", "Exception", "BaseException"})
_LOADERS = frozenset({"from_pretrained", "hf_hub_download", "snapshot_download", "pipeline", "load_lora_weights"})
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SCRIPT = re.compile(r"[\w./-]+\.py\b")
_DOTTED = re.compile(r"\w+(?:\.\w+)+")
_ASSIGNMENT = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]+)=\S")
_HUB_PATH = re.compile(r"/(?:home/user|data)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file of the Space."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


@dataclass(slots=True, kw_only=True)
class Facts:
    """Each dictionary maps a name to the first place that mentions it."""

    imports: dict[str, Place] = field(default_factory=dict)  # third-party modules the code cannot do without
    optional_imports: dict[str, Place] = field(default_factory=dict)  # inside `try: ... except ImportError`
    required: dict[str, Place] = field(default_factory=dict)  # variables whose absence raises
    optional: dict[str, Place] = field(default_factory=dict)  # variables asked for with a way out
    provided: set[str] = field(default_factory=set)  # variables that the code sets itself
    models: dict[str, Place] = field(default_factory=dict)
    hub_paths: dict[str, Place] = field(default_factory=dict)  # paths that exist on the Hub only
    zero_gpu: Place | None = None  # the first use of `spaces.GPU`
    launches: bool = False  # something speaks of launching
    unreadable: dict[str, str] = field(default_factory=dict)  # path: why
    truncated: bool = False  # the tree holds more code than is looked at


def scan(root: Path, app_file: str) -> Facts:
    """The facts of every file reachable from `app_file` (relative to the directory `root`)."""
    return _Scanner(root, app_file).run()


@dataclass(frozen=True, slots=True)
class _Context:
    """What stands around a node: whether a missing module is caught, and which variables were asked for before."""

    optional: bool = False
    any_key: bool = False
    guarded: frozenset[str] = frozenset()


class _Scanner:
    def __init__(self, root: Path, app_file: str) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._folders = tuple(dict.fromkeys([(root / app_file).parent, root]))
        self._queue: list[Path] = [root / app_file]
        self._seen: set[Path] = set()
        self._local: dict[tuple[Path, str], bool] = {}
        self.facts = Facts()
        self._bytes = 0

    def run(self) -> Facts:
        while self._queue:
            path = self._queue.pop()
            if path not in self._seen:
                self._seen.add(path)
                self._file(path)
        return self.facts

    def _file(self, path: Path) -> None:
        if len(self._seen) > MAX_FILES or self._bytes > MAX_TOTAL_BYTES:
            self.facts.truncated = True
            return
        if not path.resolve().is_relative_to(self._real_root):
            return
        name = path.relative_to(self._root).as_posix()
        try:
            text = pysource.read(path).text
            self._bytes += len(text)
            tree = pysource.parse(text)
        except pysource.Unreadable as exc:
            self.facts.unreadable[name] = str(exc)
            return
        self.facts.launches = self.facts.launches or ".launch" in text
        self._walk(tree, name, path.parent)

    def _walk(self, tree: ast.Module, name: str, folder: Path) -> None:
        stack: list[tuple[ast.AST, _Context]] = [(tree, _Context())]
        while stack:
            node, context = stack.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node, context, Place(name, node.lineno), folder)
            elif isinstance(node, ast.expr):
                self._expression(node, context, Place(name, node.lineno))
            stack.extend(_children(node, context))

    # Modules

    def _import(self, node: ast.Import | ast.ImportFrom, context: _Context, place: Place, folder: Path) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._module(alias.name, (), context, place, self._folders)
        elif node.level:
            above = [folder, *folder.parents][: node.level]
            self._follow(above[-1], node.module or "", tuple(alias.name for alias in node.names))
        else:
            self._module(node.module or "", tuple(alias.name for alias in node.names), context, place, self._folders)

    def _module(
        self, name: str, members: tuple[str, ...], context: _Context, place: Place, folders: tuple[Path, ...]
    ) -> None:
        root = name.partition(".")[0]
        for folder in folders:
            if self._is_local(folder, root):
                self._follow(folder, name, members)
                return
        if root and root not in STDLIB:
            known = self.facts.optional_imports if context.optional else self.facts.imports
            known.setdefault(root, place)

    def _is_local(self, folder: Path, root: str) -> bool:
        """Whether `import root` finds something of the Space: a file, a package or a compiled module."""
        key = (folder, root)
        if key not in self._local:
            package = folder / root
            self._local[key] = len(root) < MAX_NAME and (
                pysource.is_file(folder / f"{root}.py")
                or pysource.is_file(package / "__init__.py")
                or (package.is_dir() and any(package.glob("*.py")))
                or any(folder.glob(f"{_plain(root)}.*.so"))
            )
        return self._local[key]

    def _follow(self, folder: Path, name: str, members: tuple[str, ...]) -> None:
        """Queues the file of module `name`, of the packages above it, and of `members` that are modules."""
        parts = [part for part in name.split(".") if part]
        for depth in range(len(parts) + 1):
            base = folder.joinpath(*parts[:depth])
            self._add(base / "__init__.py" if depth else None)
            self._add(base.with_name(f"{base.name}.py") if depth else None)
        base = folder.joinpath(*parts)
        for member in members:
            self._add(base / f"{member}.py")
            self._add(base / member / "__init__.py")

    def _add(self, path: Path | None) -> None:
        if path is not None and path not in self._seen and path.is_relative_to(self._root) and pysource.is_file(path):
            self._queue.append(path)

    # Expressions

    def _expression(self, node: ast.expr, context: _Context, place: Place) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._string(node.value, place)
        elif isinstance(node, ast.Subscript) and _is_environ(node.value):
            self._variable(_constant(node.slice), isinstance(node.ctx, ast.Load), context, place)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, context, place)
        elif isinstance(node, ast.Call):
            self._call(node, context, place)

    def _variable(self, name: str | None, read: bool, context: _Context, place: Place) -> None:
        if name is None:
            return
        if not read:
            self.facts.provided.add(name)
        elif context.any_key or name in context.guarded:
            self.facts.optional.setdefault(name, place)
        else:
            self.facts.required.setdefault(name, place)

    def _attribute(self, node: ast.Attribute, context: _Context, place: Place) -> None:
        if node.attr == "GPU" and isinstance(node.value, ast.Name) and node.value.id == "spaces":
            self.facts.zero_gpu = self.facts.zero_gpu or place
        name = _asked_for(node.value)
        if name is not None and name not in context.guarded:  # getenv("X").strip(): None has no strip
            self.facts.required.setdefault(name, place)

    def _call(self, node: ast.Call, context: _Context, place: Place) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = _constant(node.args[0]) if node.args else None
        self._child_environment(node)
        if called in _LOADERS:
            self._model(node, first, place)
        elif first and called in ("import_module", "__import__") and first[0] != ".":
            self._module(first, (), context, place, self._folders)
        elif first and _reads_environ(node.func):
            if called == "setdefault":
                self.facts.provided.add(first)
            elif called == "pop" and len(node.args) == 1:
                self._variable(first, True, context, place)
            else:
                self.facts.optional.setdefault(first, place)

    def _child_environment(self, node: ast.Call) -> None:
        """`subprocess.run(..., env={"MODE": "ui"})` sets MODE for a file of the Space."""
        for keyword in node.keywords:
            if keyword.arg == "env" and isinstance(keyword.value, ast.Dict):
                plain = [key for key, value in zip(keyword.value.keys, keyword.value.values, strict=True)
                         if key is not None and isinstance(value, ast.Constant)]  # fmt: skip
                self.facts.provided.update(name for name in map(_constant, plain) if name)

    def _model(self, node: ast.Call, first: str | None, place: Place) -> None:
        given = {keyword.arg: _constant(keyword.value) for keyword in node.keywords}
        if given.get("repo_type") not in (None, "model"):
            return
        for name in (first, given.get("model"), given.get("repo_id"), given.get("pretrained_model_name_or_path")):
            if name and _MODEL.fullmatch(name) and not (self._root / name).exists():
                self.facts.models.setdefault(name, place)

    def _string(self, text: str, place: Place) -> None:
        if len(text) > 4096:
            return
        if _HUB_PATH.match(text):
            self.facts.hub_paths.setdefault(text[:200], place)
        if ".py" in text:
            self.facts.provided.update(_ASSIGNMENT.findall(text)[:20])  # "MODE=ui python ui.py"
            for script in _SCRIPT.findall(text)[:20]:
                self._add(self._root / script.lstrip("/"))
        elif _DOTTED.fullmatch(text):  # ["python", "-m", "package.module"], uvicorn.run("package.module:app")
            self._add(self._root.joinpath(*text.split(".")).with_suffix(".py"))


def _children(node: ast.AST, context: _Context) -> Iterator[tuple[ast.AST, _Context]]:
    if isinstance(node, ast.Try):
        yield from _try_children(node, context)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield from _branches(node, context)
    else:
        for child in ast.iter_child_nodes(node):
            yield child, context


def _try_children(node: ast.Try, context: _Context) -> Iterator[tuple[ast.AST, _Context]]:
    caught = {name for handler in node.handlers for name in _caught(handler)}
    inside = _Context(
        optional=context.optional or bool(caught & _IMPORT_ERRORS),
        any_key=context.any_key or bool(caught & _KEY_ERRORS),
        guarded=context.guarded,
    )
    for child in node.body:
        yield child, inside
    for rest in [*node.handlers, *node.orelse, *node.finalbody]:
        # What a handler imports instead is as optional as what failed.
        yield rest, inside if isinstance(rest, ast.ExceptHandler) else context


def _caught(handler: ast.ExceptHandler) -> Iterator[str]:
    if handler.type is None:
        yield "BaseException"
        return
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    for one in types:
        yield getattr(one, "id", getattr(one, "attr", ""))


def _branches(node: ast.If | ast.IfExp | ast.While, context: _Context) -> Iterator[tuple[ast.AST, _Context]]:
    """A branch may rely on the variables that its condition asks for; under TYPE_CHECKING nothing is imported."""
    words = {sub.value for sub in ast.walk(node.test) if isinstance(sub, ast.Constant) and isinstance(sub.value, str)}
    names = {getattr(sub, "id", getattr(sub, "attr", "")) for sub in ast.walk(node.test)}
    inside = _Context(
        optional=context.optional or "TYPE_CHECKING" in names,
        any_key=context.any_key,
        guarded=context.guarded | words,
    )
    for child in ast.iter_child_nodes(node):
        yield child, context if child is node.test else inside


def _constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_environ(node: ast.expr) -> bool:
    """`os.environ`, whatever `os` is called, or `environ`."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name == "environ"


def _reads_environ(func: ast.expr) -> bool:
    """`os.getenv`, `getenv`, `environ.get`, `environ.pop`, `environ.setdefault`."""
    if isinstance(func, ast.Attribute):
        return func.attr == "getenv" or (func.attr in ("get", "pop", "setdefault") and _is_environ(func.value))
    return isinstance(func, ast.Name) and func.id == "getenv"


def _asked_for(node: ast.expr) -> str | None:
    """The variable that `node` reads without a default by `getenv` or `get`."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords and _reads_environ(node.func):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else "getenv"
        return _constant(node.args[0]) if called in ("getenv", "get") else None
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^\w]", "", name)

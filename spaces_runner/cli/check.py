"""`spaces-runner check`: runs many Spaces, one call each, and says of every one how it went."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spaces_runner.cli.face import AsJson, Face, Style, opened
from spaces_runner.cli.options import Apt, Env, Gpu, PythonVersion, Secret, secrets, variables
from spaces_runner.cli.watch import Terminated, terminate
from spaces_runner.errors import BadOption
from spaces_runner.format import duration
from spaces_runner.sanitize import clean_line
from spaces_runner.types import RunOptions

if TYPE_CHECKING:
    from spaces_runner.checking import Order, Result


Spaces = Annotated[list[str] | None, typer.Argument(metavar="SPACE", help="What run takes, as often as you like.")]
SpacesFile = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="Spaces, one a line.", show_default=False)
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", metavar="N", min=1, help="How many at once; as there is room, if left out.", show_default=False
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="For each Space.")]
Keep = Annotated[bool, typer.Option("--keep", help="Stop what was run, but do not remove it.")]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="A file to write as well: .json holds the results, .md Markdown."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Leave out what the .json file of --output has already.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]


def check(  # noqa: PLR0913, PLR0917  # one parameter per option
    spaces: Spaces = None,
    file: SpacesFile = None,
    jobs: Jobs = None,
    timeout: Timeout = 1800.0,
    keep: Keep = False,
    output: Output = None,
    resume: Resume = False,
    markdown: AsMarkdown = False,
    env: Env = None,
    secret: Secret = None,
    gpu: Gpu = "auto",
    python: PythonVersion = None,
    apt: Apt = False,
    as_json: AsJson = False,
) -> None:
    """Run Spaces until each has answered, and print how each fared.

    Each is started without a public link, asked for its page and, where it is a Gradio app, called once; then it is
    stopped and removed. The exit code is 0 only if all started and every call was answered. Ctrl-C ends all of them;
    what is known by then is printed, and in the files.
    """
    from spaces_runner import checking
    from spaces_runner.checking import plan

    with opened(as_json) as face:
        wanted = (*(spaces or ()), *(plan.read_ids(Path(file)) if file else ()))
        if not wanted:
            raise typer.BadParameter("Name a Space, or a file of them with --file.")
        paths = [Path(name) for name in output or ()]
        sheet = Sheet(paths, known(paths, resume=resume))
        left = plan.left(wanted, sheet.results)
        values = secrets(secret, face)
        options = RunOptions(
            share=False, gpu=gpu, python=python, variables=variables(env, face), secret_names=tuple(values), apt=apt
        )
        order = checking.Order(options=options, secrets=values, jobs=jobs, timeout_s=timeout, keep=keep)
        code = watched(left, order, sheet, face)
        places = {space: place for place, space in enumerate(wanted)}
        show(sorted(sheet.results, key=lambda result: places.get(result.space, -1)), face, markdown=markdown)
        raise typer.Exit(
            code or (0 if all(result.verdict is checking.Verdict.STARTED for result in sheet.results) else 1)
        )


class Sheet:
    """The results so far, and the files that they are in."""

    def __init__(self, paths: Sequence[Path], results: Sequence[Result]) -> None:
        self._paths = paths
        self.results = list(results)

    @property
    def resumable(self) -> bool:
        return any(path.suffix == ".json" for path in self._paths)

    def add(self, result: Result) -> None:
        self.results.append(result)
        self.write()

    def write(self) -> None:
        """Raises BadOption."""
        from spaces_runner.checking import plan

        for path in self._paths:
            plan.write(path, written(path, self.results))


def known(paths: Sequence[Path], *, resume: bool) -> Sequence[Result]:
    """What an earlier check has found. Raises BadOption, so that no results are lost to a forgotten --resume."""
    from spaces_runner.checking import plan

    kept = [path for path in paths if path.suffix == ".json"]
    if not resume:
        for path in kept:
            if path.exists():
                hint = "Go on with it by --resume, or give another name."
                raise BadOption(f"{path} is there already.", hint=hint)
        return ()
    if len(kept) != 1:
        raise typer.BadParameter("--resume needs one --output FILE.json, to go on with.")
    return plan.read_results(kept[0])


def written(path: Path, results: Sequence[Result]) -> str:
    """What a file of this name holds of the results."""
    from spaces_runner.checking import plan, table

    if path.suffix == ".json":
        return plan.as_json(results)
    return "\n".join(table.markdown(results) if path.suffix == ".md" else table.text(results)) + "\n"


def watched(spaces: Sequence[str], order: Order, sheet: Sheet, face: Face) -> int:
    """Check them, with a line for each as it ends. 0, or the exit code of an interrupt."""
    from spaces_runner import checking

    before, total = len(sheet.results), len(sheet.results) + len(spaces)
    if before:
        face.say(f"{before} of {total} are known already.", Style.DIM)
    sheet.write()  # better now than after the first hour

    def tell(result: Result) -> None:
        sheet.add(result)
        say(result, f"{len(sheet.results)}/{total}", face)

    try:
        with terminable():
            checking.check(spaces, order, face.settings, tell)
    except KeyboardInterrupt as interrupt:
        hint = " --resume goes on with them." if sheet.resumable else ""
        face.say(f"\nEnded; {total - len(sheet.results)} of {total} are left.{hint}", Style.YELLOW)
        return 143 if isinstance(interrupt, Terminated) else 130
    return 0


def say(result: Result, where: str, face: Face) -> None:
    """One line of progress."""
    from spaces_runner.checking import Verdict, table

    styles = {Verdict.STARTED: Style.GREEN, Verdict.CALL_FAILED: Style.YELLOW, Verdict.FAILED: Style.RED}
    parts = (where, result.verdict, clean_line(result.space), duration(result.seconds), table.called(result.call))
    told = "" if result.verdict is Verdict.STARTED else clean_line(table.told(result))
    face.say("  ".join(part for part in (*parts, told) if part), styles[result.verdict])


def show(results: Sequence[Result], face: Face, *, markdown: bool) -> None:
    from spaces_runner.checking import table

    if face.as_json:
        face.data(results)
        return
    for line in table.markdown(results) if markdown else table.text(results):
        face.out(line)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM inside asks for the same as Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

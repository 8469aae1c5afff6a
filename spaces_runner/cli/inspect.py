"""`spaces-runner inspect`: the whole plan of a Space, and nothing started."""

from __future__ import annotations

from collections.abc import Iterator

from spaces_runner.cli.face import AsJson, Face, Style, opened
from spaces_runner.cli.options import Env, Gpu, PythonVersion, Refresh, Secret, SpaceText, secrets, space_ref, variables
from spaces_runner.cli.patch import show_diff
from spaces_runner.cli.progress import renderer, say_finding
from spaces_runner.format import size
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Event, Finding, Found, Inspection, Resolution, ResolvedHow, RunOptions, SpaceRef

LARGE_BYTES = 1_000_000  # a file that is named for its size
MOST_FILES = 10
HOW = {
    ResolvedHow.JOINT: "as the Hub would build it today",
    ResolvedHow.AS_OF_DATE: "with the packages of the day of its last change",
    ResolvedHow.LEGACY: "in the order the Hub used until 2024",
}


def inspect(  # noqa: PLR0913, PLR0917  # one parameter per option
    space: SpaceText,
    env: Env = None,
    secret: Secret = None,
    gpu: Gpu = "auto",
    python: PythonVersion = None,
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Show the whole plan of a Space and start nothing.

    Its files, versions, packages, patch, findings, and how it fits the GPU.
    """
    with opened(as_json) as face:
        ref = space_ref(space, face)
        names = tuple(secrets(secret, face))
        options = RunOptions(
            gpu=gpu, python=python, variables=variables(env, face), secret_names=names, refresh=refresh
        )
        plan = look(ref, options, face)
        if as_json:
            face.data(plan)
        else:
            show(plan, face)


def look(ref: SpaceRef, options: RunOptions, face: Face) -> Inspection:
    """The plan. Its findings come with the rest of it, at the end."""
    from spaces_runner import runner
    from spaces_runner.report import Reporter

    screen = renderer(face, set())

    def emit(event: Event) -> None:
        if not isinstance(event, Found):
            screen.show(event)

    try:
        return runner.inspect(ref, options, face.settings, Reporter(emit=emit))
    finally:
        screen.close()


def show(plan: Inspection, face: Face) -> None:
    for name, value in facts(plan):
        face.out(f"{name:<13} {clean_line(value)}")
    if plan.patch.files:
        face.out("patch", Style.BOLD)
        show_diff(plan.patch.diff, face)
    else:
        face.out(f"{'patch':<13} nothing to change")
    shown: set[Finding] = set()
    for finding in plan.findings:
        say_finding(finding, face.out, shown)


def facts(plan: Inspection) -> Iterator[tuple[str, str]]:
    """What is shown as one line each."""
    checkout, spec = plan.checkout, plan.spec
    yield "space", str(checkout.ref)
    yield "commit", f"{checkout.commit[:12]}  {checkout.committed_at or ''}".rstrip()
    yield from files(plan)
    yield "sdk", f"{spec.sdk} {spec.sdk_version or ''}".rstrip()
    yield "app file", spec.app_file
    if spec.build_command:
        yield "built by", spec.build_command
    if spec.packages:
        yield "packages.txt", " ".join(spec.packages)
    if spec.secrets:
        yield "secrets", " ".join(spec.secrets)
    if spec.models:
        yield "models", " ".join(spec.models)
    if plan.resolution is None:
        yield "environment", f"an image of its own, to be built; it serves on port {spec.app_port} inside"
    else:
        yield "python", f"{plan.resolution.python_version}  {plan.resolution.python}"
        yield "environment", environment(plan.resolution, plan.environment_ready)
    if plan.gpu_fit:
        yield "gpu", plan.gpu_fit


def files(plan: Inspection) -> Iterator[tuple[str, str]]:
    """How many there are and how large, and the large ones by name."""
    kept = [file for file in plan.files if file.lfs]
    large = f"; {len(kept)} by Git LFS, {size(plan.checkout.lfs_bytes)}, which a launch fetches" if kept else ""
    yield "files", f"{len(plan.files)} files, {size(plan.checkout.size_bytes)}{large}"
    shown = [file for file in plan.files if file.lfs or file.size_bytes >= LARGE_BYTES]
    shown.sort(key=lambda file: -file.size_bytes)
    for file in shown[:MOST_FILES]:
        yield "", f"{size(file.size_bytes):>9}  {file.path}{'  (LFS)' if file.lfs else ''}"
    if rest := shown[MOST_FILES:]:
        yield "", f"{size(sum(file.size_bytes for file in rest)):>9}  in {len(rest)} more"


def environment(resolution: Resolution, stands: bool) -> str:
    ready = "stands already" if stands else "is to be built"
    day = f" ({resolution.exclude_newer})" if resolution.exclude_newer else ""
    return f"{len(resolution.packages)} packages, {HOW[resolution.how]}{day}; {ready}"

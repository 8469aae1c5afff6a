"""The nouns that cross modules: frozen values, and the enums they are described with. Knows no stage, does nothing.

The order in which they come about is the order of the pipeline:
text -> SpaceRef -> Checkout -> SpaceSpec -> Resolution -> Environment -> Patch -> LaunchPlan -> SpaceStatus.
"""

# ruff: noqa: PLC0414  # the form in which type checkers take a name as handed on

from __future__ import annotations

from dataclasses import dataclass, field

from spaces_runner.containers.nouns import Container as Container
from spaces_runner.enums import Ready as Ready
from spaces_runner.enums import RefKind as RefKind
from spaces_runner.enums import ResolvedHow as ResolvedHow
from spaces_runner.enums import Sdk as Sdk
from spaces_runner.enums import Severity as Severity
from spaces_runner.enums import Stage as Stage
from spaces_runner.enums import Step as Step
from spaces_runner.sandbox.nouns import Fence as Fence
from spaces_runner.sandbox.nouns import Sandbox as Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something the owner should know: what it is, and what can be done."""

    code: str  # stable, kebab-case
    severity: Severity
    message: str
    remedy: str = ""
    lines: tuple[str, ...] = ()  # of a log or a file, already harmless text


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRef:
    """Where a Space's files are. Built only by `ref.parse`, from validated parts.

    `source` is `owner/name` (HUB), `owner-name` (SUBDOMAIN), an https URL (GIT) or an absolute path (DIRECTORY).
    """

    kind: RefKind
    source: str
    revision: str | None = None  # branch, tag, commit or `refs/pr/N`; None is the default branch
    tail: str = ""  # what follows it in a page's address: more of its name, a path, or both; the origin's names decide
    folder: str = ""  # of a git repository that is the Space; known once the origin has told where the revision ends

    @property
    def name(self) -> str:
        """The last part of the source, without `.git`."""
        return self.source.rstrip("/").rpartition("/")[2].removesuffix(".git")

    @property
    def owner(self) -> str:
        """The Hub account, or "" for anything that is not on the Hub."""
        return self.source.partition("/")[0] if self.kind is RefKind.HUB else ""

    @property
    def revisions(self) -> tuple[str | None, ...]:
        """What the revision can be, the longest name first."""
        if not self.revision:
            return (None,)
        parts = [self.revision, *self.tail.split("/")] if self.tail else [self.revision]
        return tuple("/".join(parts[:count]) for count in range(len(parts), 0, -1))

    def __str__(self) -> str:
        return f"{self.source}@{self.revisions[0]}" if self.revision else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFile:
    """One file of a Space."""

    path: str  # relative, with `/`
    size_bytes: int  # of the object, where the repository holds a pointer to it
    lfs: bool = False  # it is kept by Git LFS


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Which files a Space has at one commit, wherever they lie."""

    ref: SpaceRef
    commit: str  # 40 hex digits; for a DIRECTORY a hash of its contents
    committed_at: str | None = None  # ISO 8601 with offset; None where there is no history
    size_bytes: int = 0
    lfs_bytes: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout(Snapshot):
    """A Space's files at one commit, in a directory without `.git`."""

    path: str
    files: tuple[SpaceFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSpec:
    """What a checkout says about itself. Paths are relative to the checkout's root, with `/`."""

    sdk: Sdk
    sdk_version: str | None = None
    python_version: str | None = None
    app_file: str = "app.py"
    base_path: str = ""
    app_port: int = 7860  # of a Docker Space, inside
    title: str = ""
    emoji: str = ""
    requirements: str | None = None  # path of requirements.txt
    pre_requirements: str | None = None
    packages: tuple[str, ...] = ()  # Debian packages of packages.txt
    imports: tuple[str, ...] = ()  # top-level modules the code imports that are neither its own nor the stdlib's
    secrets: tuple[str, ...] = ()  # environment variables the code cannot do without
    hub_paths: tuple[str, ...] = ()  # paths that the code names and that are folders of the Hub's machine
    models: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()  # `preload_from_hub` entries
    headers: dict[str, str] = field(default_factory=dict)  # custom_headers that its files are served with
    build_command: str = ""  # app_build_command
    suggested_hardware: str | None = None
    startup_timeout_s: float = 1800.0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Exact packages for one Python: what an environment is made of."""

    python: str  # absolute path of the interpreter
    python_version: str  # "3.11.7"
    how: ResolvedHow
    packages: tuple[str, ...]  # "name==version" or "name @ url", sorted
    lock: str  # requirements text that installs exactly this
    exclude_newer: str | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An immutable environment that Spaces only read."""

    fingerprint: str
    prefix: str  # directory of the virtual environment
    python: str  # prefix/bin/python
    resolution: Resolution
    reused: bool  # it stood there already
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    path: str  # relative to the checkout
    source: str
    diff: str  # unified


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What changes in a copy of the source so that every launch shares."""

    files: tuple[PatchedFile, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def diff(self) -> str:
        return "".join(file.diff for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the owner asked for. Secret values are not here: `secrets.py` keeps them."""

    share: bool = True
    gpu: str = "auto"  # "auto", "none", or an index or UUID of NVML
    python: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    secret_names: tuple[str, ...] = ()
    app_args: tuple[str, ...] = ()
    refresh: bool = False  # resolve the requirements anew
    apt: bool = False  # the owner's yes to installing what packages.txt asks for
    model: str | None = None  # of the inference core, for the Space to call: "NAME", or "NAME=VARIABLE" for its address
    sandbox: bool = True  # False: its owner lets it reach whatever its user can


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who a Space runs as. None of it where the runner itself is not root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What the Space's code runs under while it is built. None of both: as the runner itself."""

    user: User | None
    sandbox: Sandbox | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """Everything a shim needs to start an app, but the secrets, which it reads itself at that moment."""

    argv: tuple[str, ...]  # with `variables.PORT_HERE` where the run's port belongs
    cwd: str
    env: dict[str, str]
    sdk: Sdk
    sdk_version: str | None = None
    python_version: str | None = None
    user: User | None = None
    fence: Fence | None = None  # None: it reaches what its user does
    container: Container | None = None  # what `argv` runs in, in place of the image's own command; `env` is inside
    share: bool = True
    secrets_file: str = ""  # below HOME, for the secrets as TOML
    ready: Ready = Ready.ANSWERS
    ready_timeout_s: float = 1800.0
    base_path: str = ""  # "/…": where the app's links lead
    revision: str = ""
    findings: tuple[Finding, ...] = ()
    diff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The whole plan of a Space that nothing of was started, and no file of which is kept."""

    checkout: Snapshot
    files: tuple[SpaceFile, ...] = ()
    spec: SpaceSpec
    resolution: Resolution | None  # None: it brings an image of its own
    environment_ready: bool  # the environment stands already
    patch: Patch
    gpus: tuple[Gpu, ...] = ()
    gpu_fit: str = ""  # one sentence
    findings: tuple[Finding, ...] = ()  # of every stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """A `RunnerError` as a value, as it is stored and shown."""

    code: str
    stage: Stage
    step: Step | None
    message: str
    hint: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceStatus:
    """What a face shows of one Space; the object that `--json` prints. Times are ISO 8601 in UTC."""

    id: str
    space: str
    revision: str | None
    stage: Stage
    step: Step | None = None
    local_url: str | None = None
    share_url: str | None = None
    gpu: str | None = None
    started_at: str | None = None
    ready_at: str | None = None
    ended_at: str | None = None
    pid: int | None = None
    exit_code: int | None = None
    restarts: int = 0
    error: ErrorInfo | None = None
    findings: tuple[Finding, ...] = ()


# Events: what a run says while it goes. `at` is seconds since the epoch.


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    at: float
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    at: float
    step: Step
    done: int
    total: int | None
    unit: str  # "bytes", "objects", "packages", "modules", "attempts"
    what: str = ""  # of the step, where it does more than one thing: "compiling 76 packages", a model's name


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    at: float
    step: Step
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChanged:
    at: float
    stage: Stage
    local_url: str | None = None
    share_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    at: float
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    at: float
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    at: float
    code: int | None
    signal: int | None


Event = StepStarted | Progress | StepFinished | StageChanged | Found | Failed | Exited

"""Configuration, read once from an environment mapping and then handed around. Knows names and defaults, no policy."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SHARE_SERVER = "https://api.gradio.app/v3/tunnel-request"
# Gradio's own tunnel client, version 0.3, and the checksums that gradio.tunneling names for it.
TUNNEL_CLIENT = "https://cdn-media.huggingface.co/frpc-gradio-0.3/frpc_{system}_{machine}"
ENVIRONMENT_MARK = "environment.json"  # the file of an environment that is written last
INSPECTION = "inspect-"  # how the directory of an inspection begins, in the state directory
# What an engine's client finds its service, its storage, its log-ins and the network by.
CONTAINER_ENVIRON = (
    "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY", "CONTAINER_HOST", "CONTAINERS_CONF",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
PORT_BASES = range(1024, 65_536 - 8000)  # what Spaces get are the 8000 ports from there; below is for root


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the runner can be told through its environment; `read_settings` knows the variables."""

    home: str
    hf_endpoint: str = "https://huggingface.co"
    hf_token: str | None = field(default=None, repr=False)
    git_hosts: tuple[str, ...] = ()
    share_server: str = SHARE_SERVER
    tunnel_client: str = TUNNEL_CLIENT
    tunnel_client_sha256: str | None = None
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    ca_file: str | None = None
    python_dirs: tuple[str, ...] = ()
    python_downloads: bool = True  # a Python that is not here may be fetched by uv
    python_mirror: str | None = None  # where uv fetches it from, in place of GitHub
    python_list: str | None = None  # the JSON file of what there is to fetch, in place of uv's own
    visible_gpus: str | None = None  # the owner's CUDA_VISIBLE_DEVICES: Spaces get none that it does not leave
    path: str = "/usr/local/bin:/usr/bin:/bin"
    container_flags: tuple[str, ...] = ()  # the owner's, of the engine itself, of its `build` and of its `run`
    container_build_flags: tuple[str, ...] = ()
    container_run_flags: tuple[str, ...] = ()
    container_environ: dict[str, str] = field(default_factory=dict, repr=False, hash=False)
    uid_base: int = 61000
    log_bytes: int = 16 * 1024**2
    log_files: int = 8
    stop_grace_s: float = 10.0
    port_base: int = 20000  # below the range from which the kernel takes ports for outgoing connections
    disk_floor_bytes: int = 2 * 1024**3
    network_stall_s: int = 60  # a transfer that brings nothing for so long is given up
    link_retry_s: float = 30.0  # until a public link that could not be had is tried for again; then ever longer

    # The rooms of the state directory. What a Space's user must reach lies under parents that all may enter (0755).

    @property
    def home_dir(self) -> Path:
        return Path(self.home)

    @property
    def database(self) -> Path:
        return self.home_dir / "state.db"

    @property
    def secrets_dir(self) -> Path:
        return self.home_dir / "secrets"

    @property
    def mirrors_dir(self) -> Path:
        return self.home_dir / "mirrors"

    @property
    def environments_dir(self) -> Path:
        return self.home_dir / "environments"

    def environment_mark(self, fingerprint: str) -> Path:
        """The file that makes an environment complete. Its time says when a launch last took it."""
        return self.environments_dir / fingerprint / ENVIRONMENT_MARK

    @property
    def uv_cache_dir(self) -> Path:
        return self.home_dir / "uv" / "cache"

    @property
    def pythons_dir(self) -> Path:
        return self.home_dir / "uv" / "python"

    @property
    def models_dir(self) -> Path:
        """A Hugging Face hub cache of what the runner fetched; Spaces read it."""
        return self.home_dir / "models"

    @property
    def bin_dir(self) -> Path:
        return self.home_dir / "bin"

    @property
    def spaces_dir(self) -> Path:
        return self.home_dir / "spaces"

    def space(self, space_id: str) -> SpaceDirs:
        return SpaceDirs(root=self.spaces_dir / space_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceDirs:
    """The rooms of one Space. `app`, `data`, `home`, `venv` and `tmp` are its own to write; the rest is ours."""

    root: Path

    @property
    def app(self) -> Path:
        """The patched copy of the source, laid out anew for each launch; the app's working directory."""
        return self.root / "app"

    @property
    def mirror_mark(self) -> Path:
        """The runner's own: names the mirror of a Space whose reference does not say it, which only the Hub knew."""
        return self.root / "mirror"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def venv(self) -> Path:
        """The overlay: what the Space installs while it runs, in front of its immutable environment."""
        return self.root / "venv"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def build(self) -> Path:
        """The runner's own: where packages are built, by the Space's user. There only while a build goes on."""
        return self.root / "build"

    @property
    def engine_mark(self) -> Path:
        """The runner's own: names the container engine that has a Docker Space."""
        return self.root / "engine.json"

    @property
    def run(self) -> Path:
        """The runner's own: the bootstrap's socket."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """The runner's own, 0700: `build.log`, `run.log` and their rotated files."""
        return self.root / "logs"

    @property
    def build_log(self) -> Path:
        return self.logs / "build.log"

    @property
    def run_log(self) -> Path:
        return self.logs / "run.log"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that `environ` (default: this process's) asks for. Raises ValueError on what cannot be meant."""
    env = os.environ if environ is None else environ
    defaults: dict[str, object] = {}
    for name in ("UID_BASE", "LOG_BYTES", "LOG_FILES", "PORT_BASE", "DISK_FLOOR_BYTES"):
        if value := env.get(f"SPACES_RUNNER_{name}"):
            defaults[name.lower()] = _number(f"SPACES_RUNNER_{name}", value)
    if "port_base" in defaults and defaults["port_base"] not in PORT_BASES:
        raise ValueError(f"SPACES_RUNNER_PORT_BASE must be from {PORT_BASES[0]} to {PORT_BASES[-1]}")
    return Settings(
        home=str(Path(env.get("SPACES_RUNNER_HOME") or _default_home()).absolute()),
        hf_endpoint=(env.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"),
        hf_token=_token(env),
        git_hosts=_words(env.get("SPACES_RUNNER_GIT_HOSTS")),
        share_server=env.get("SPACES_RUNNER_SHARE_SERVER") or SHARE_SERVER,
        tunnel_client=env.get("SPACES_RUNNER_TUNNEL_CLIENT") or TUNNEL_CLIENT,
        tunnel_client_sha256=env.get("SPACES_RUNNER_TUNNEL_CLIENT_SHA256") or None,
        index_url=env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or env.get("PIP_INDEX_URL") or None,
        extra_index_urls=_words(env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL") or env.get("PIP_EXTRA_INDEX_URL")),
        find_links=_words(env.get("UV_FIND_LINKS") or env.get("PIP_FIND_LINKS")),
        ca_file=env.get("SSL_CERT_FILE") or env.get("PIP_CERT") or None,
        python_dirs=_python_dirs(env),
        python_downloads=env.get("UV_PYTHON_DOWNLOADS", "").lower() not in ("never", "0", "false"),
        python_mirror=env.get("UV_PYTHON_INSTALL_MIRROR") or None,
        python_list=env.get("UV_PYTHON_DOWNLOADS_JSON_URL") or None,
        visible_gpus=env.get("CUDA_VISIBLE_DEVICES"),
        path=env.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        container_flags=_flags(env, "SPACES_RUNNER_CONTAINER_FLAGS"),
        container_build_flags=_flags(env, "SPACES_RUNNER_CONTAINER_BUILD_FLAGS"),
        container_run_flags=_flags(env, "SPACES_RUNNER_CONTAINER_RUN_FLAGS"),
        container_environ={name: env[name] for name in CONTAINER_ENVIRON if name in env},
        **defaults,  # type: ignore[arg-type]  # numbers, by the loop above
    )


def _number(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None


def _flags(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The words of a command line, as a shell would take them apart."""
    try:
        return tuple(shlex.split(env.get(name, "")))
    except ValueError as error:
        raise ValueError(f"{name} cannot be taken apart: {error}") from None


def _words(value: str | None) -> tuple[str, ...]:
    return tuple((value or "").replace(",", " ").split())


def _default_home() -> str:
    """For root a directory that other users may enter: a Space runs as one of them, and a root home is closed."""
    if os.geteuid() == 0:
        return "/var/lib/spaces-runner"
    from platformdirs import user_data_dir  # the shim is handed its settings and never needs it

    return user_data_dir("spaces-runner")


def _token(env: Mapping[str, str]) -> str | None:
    """The user's Hub token, as huggingface_hub finds it: HF_TOKEN, else the file that `hf auth login` wrote."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := env.get(name, "").strip():
            return token
    cache = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface")
    path = Path(env.get("HF_TOKEN_PATH") or Path(cache) / "token").expanduser()
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _python_dirs(env: Mapping[str, str]) -> tuple[str, ...]:
    """`bin` folders of pyenv's interpreters: its shims answer only where a version is switched on."""
    roots = [env.get("PYENV_ROOT"), str(Path(env.get("HOME") or "/root") / ".pyenv")]
    found: list[str] = []
    for root in filter(None, roots):
        with suppress(PermissionError):  # another user's pyenv
            found += [str(path) for path in sorted(Path(root).glob("versions/*/bin"))]
    return tuple(dict.fromkeys(found))

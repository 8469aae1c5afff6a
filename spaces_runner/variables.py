"""Environment variables: what an owner may set, as docs/reference/settings.md tells it, and names inside of a Space.

Who reads them: `settings.read_settings`, the `__main__` of the page, the core and notebooks, and `spawn`, which passes
some on.
"""

from __future__ import annotations

from dataclasses import dataclass

MARK = "SPACES_RUNNER_RUN"  # the run's id; every process of its family carries it
SOCKET = "SPACES_RUNNER_SOCKET"  # where the bootstrap finds the shim
PATHS = "SPACES_RUNNER_PATHS"  # what stands here for folders of the Hub's machine, as JSON
# Ours alone, whatever an owner asks for: with the first three changed a Space would leave its family or its folders,
# and with the others its Gradio would believe that the Hub runs it, and refuse to share.
RESERVED = (SOCKET, MARK, PATHS, "SYSTEM", "SPACES_ZERO_GPU")
LISTENING = ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "PORT")  # ours as well: where this run is to be found

PORT_HERE = "\0port\0"  # in a plan's argv: the shim puts the run's port there. No argument can hold a NUL itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """`names`: of several, the first that is set counts. `field`: of Settings, which holds the default if not said."""

    names: tuple[str, ...]
    meaning: str
    field: str = ""
    default: str = ""


OWN = (
    Variable(
        names=("SPACES_RUNNER_HOME",),
        meaning="The state directory: everything that is kept, on a local disk.",
        default="`/var/lib/spaces-runner` for root, else `~/.local/share/spaces-runner`",
    ),
    Variable(
        names=("SPACES_RUNNER_GIT_HOSTS",),
        field="git_hosts",
        meaning="Hosts besides the Hub's from which an `https` git URL may be pasted; commas or spaces between them.",
    ),
    Variable(
        names=("SPACES_RUNNER_DISK_FLOOR_BYTES",),
        field="disk_floor_bytes",
        meaning="What must stay free on the disk after a download.",
    ),
    Variable(names=("SPACES_RUNNER_LOG_BYTES",), field="log_bytes", meaning="The size at which a log file is rotated."),
    Variable(names=("SPACES_RUNNER_LOG_FILES",), field="log_files", meaning="How many files of a log are kept."),
    Variable(
        names=("SPACES_RUNNER_PORT_BASE",),
        field="port_base",
        meaning="The first of the 8000 ports from which Spaces get theirs; from 1024 to 57535.",
    ),
    Variable(
        names=("SPACES_RUNNER_UID_BASE",),
        field="uid_base",
        meaning="For root: Spaces run as the users from this number on, the runner's own helpers as the two below it.",
    ),
    Variable(
        names=("SPACES_RUNNER_SHARE_SERVER",),
        field="share_server",
        meaning="The server that public links go through: what is asked for the tunnel's address.",
    ),
    Variable(
        names=("SPACES_RUNNER_TUNNEL_CLIENT",),
        field="tunnel_client",
        meaning="Where the tunnel client is fetched; `{system}` and `{machine}` stand for this machine's.",
    ),
    Variable(
        names=("SPACES_RUNNER_TUNNEL_CLIENT_SHA256",),
        field="tunnel_client_sha256",
        meaning="The checksum of that client, which is looked at before every use.",
        default="those of Gradio's client",
    ),
    Variable(
        names=("SPACES_RUNNER_CONTAINER_FLAGS",),
        meaning="For Docker Spaces: flags of `docker` or `podman` itself, as in `--runtime runc`.",
    ),
    Variable(
        names=("SPACES_RUNNER_CONTAINER_BUILD_FLAGS",),
        meaning="The same for its `build`, as in `--network host`.",
    ),
    Variable(
        names=("SPACES_RUNNER_CONTAINER_RUN_FLAGS",),
        meaning="The same for its `run`, after the runner's own, as in `--memory 8g` or `--cap-add NET_RAW`.",
    ),
    Variable(
        names=("SPACES_RUNNER_PAGE_TOKEN",),
        meaning="The page's token, in place of one that is made once and kept.",
        default="a random one",
    ),
    Variable(
        names=("SPACES_RUNNER_CORE_TOKEN",),
        meaning="For a core started by hand, and for a page with `--core`: the token of that core.",
    ),
    Variable(
        names=("SPACES_RUNNER_NOTEBOOK_ROOT",),
        meaning="For a notebook: the directory in which `storage`, `notebooks` and `kaggle/working` are looked for.",
        default="`/`",
    ),
    Variable(
        names=("SPACES_RUNNER_NOTEBOOK_LISTEN",),
        meaning="For a notebook on Gradient: the address and port that Gradient's own link leads to.",
        default="`0.0.0.0:6006`",
    ),
)

STANDARD = (
    Variable(names=("HF_ENDPOINT",), field="hf_endpoint", meaning="The Hub, or what stands in for it."),
    Variable(
        names=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        meaning="Your Hub token, for private and gated Spaces. No Space gets it.",
        default="what `hf auth login` wrote",
    ),
    Variable(
        names=("HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"),
        meaning="The file with that token, or the directory that it is in.",
        default="`~/.cache/huggingface/token`",
    ),
    Variable(
        names=("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
        meaning="The package index, in place of PyPI.",
    ),
    Variable(
        names=("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
        meaning="Further package indexes. The newest version that any of them has is taken.",
    ),
    Variable(
        names=("UV_FIND_LINKS", "PIP_FIND_LINKS"),
        meaning="Folders or pages of wheels.",
    ),
    Variable(
        names=("SSL_CERT_FILE", "PIP_CERT"),
        meaning="The certificates to trust, for packages, the Hub and the share server.",
        default="the system's",
    ),
    Variable(names=("HTTPS_PROXY", "https_proxy"), meaning="The proxy of the network, as programs know it."),
    Variable(names=("HTTP_PROXY", "http_proxy"), meaning="The same for plain HTTP."),
    Variable(names=("ALL_PROXY", "all_proxy"), meaning="The same for both."),
    Variable(names=("NO_PROXY", "no_proxy"), meaning="What is reached without a proxy."),
    Variable(
        names=("CUDA_VISIBLE_DEVICES",),
        meaning="The GPUs that Spaces and the core may get: indexes or UUIDs.",
        default="all",
    ),
    Variable(
        names=("PYENV_ROOT",),
        meaning="Where pyenv's interpreters are, which are tried before one is fetched.",
        default="`~/.pyenv`",
    ),
    Variable(
        names=("UV_PYTHON_DOWNLOADS",),
        meaning="With `never` no Python is fetched: the nearest one that is here is used, and a finding says so.",
        default="`automatic`",
    ),
    Variable(names=("UV_PYTHON_INSTALL_MIRROR",), meaning="Where uv fetches Pythons from, in place of GitHub."),
    Variable(
        names=("UV_PYTHON_DOWNLOADS_JSON_URL",),
        meaning="A list of the Pythons that there are to fetch, in place of uv's own.",
    ),
    Variable(names=("PATH",), field="path", meaning="Where git, git-lfs, setpriv and interpreters are found."),
    Variable(names=("DOCKER_HOST",), meaning="Docker's service, as its client knows it."),
    Variable(names=("DOCKER_CONTEXT",), meaning="The same by the name of a context."),
    Variable(names=("DOCKER_CONFIG",), meaning="Docker's log-ins and contexts.", default="`~/.docker`"),
    Variable(names=("DOCKER_TLS_VERIFY",), meaning="Whether Docker's client checks its service."),
    Variable(names=("DOCKER_CERT_PATH",), meaning="The certificates that it does this with."),
    Variable(names=("CONTAINER_HOST",), meaning="Podman's service, as its client knows it.", default="none is needed"),
    Variable(names=("CONTAINERS_CONF",), meaning="Podman's configuration."),
    Variable(names=("XDG_RUNTIME_DIR",), meaning="Where Podman keeps what runs, for an ordinary user."),
    Variable(names=("HF_HUB_CACHE",), meaning="For the core: where models are that were fetched before."),
    Variable(names=("HF_HUB_OFFLINE",), meaning="For the core: with `1` it fetches no models."),
    Variable(names=("NO_COLOR",), meaning="Set to anything, it takes the colours away."),
    Variable(names=("TERM",), meaning="With `dumb` there are no colours and no lines that redraw themselves."),
)

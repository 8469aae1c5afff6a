"""A Space's files at a commit, over real git and HTTP: what arrives, what is asked for once, and what goes wrong."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.errors import (
    AccessDenied,
    CheckoutError,
    DiskTooSmall,
    FolderNotFound,
    NetworkFailed,
    RefError,
    RevisionNotFound,
    RunnerError,
    SpaceNotFound,
    UnsafeTree,
)
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind, Step, StepFinished, StepStarted
from tests.support.checkouts import Told, contents, leftovers, take
from tests.support.hub import Hub
from tests.support.hub_faults import Fault
from tests.support.hub_repos import Contents, Executable, Submodule, Symlink

FILES = {"README.md": "---\nsdk: gradio\n---\n", "app.py": "print('hi')\n", "src/ß.txt": "u\r\n", "empty": ""}
TOKEN = "hf_averysecrettoken0123456789"


@pytest.fixture
def at_hub(settings: Settings, hub: Hub) -> Settings:
    """Settings of a machine whose Hub is the stand-in."""
    return hub.settings(settings)


def test_a_space_arrives_exactly_without_git(at_hub: Settings, hub: Hub) -> None:
    told = Told()
    sha = hub.add_space("o/n", {**FILES, "run.sh": Executable("#!/bin/sh\n"), "link": Symlink("src/ß.txt")})
    checkout = take("o/n", at_hub, told)
    root = Path(checkout.path)
    expected = {name: text.encode() for name, text in FILES.items()}
    assert contents(root) == {**expected, "run.sh": b"#!/bin/sh\n", "link": "src/ß.txt"}
    assert (checkout.commit, checkout.ref.kind, checkout.findings) == (sha, RefKind.HUB, ())
    assert checkout.committed_at == "2023-05-04T05:02:01+02:00"
    assert checkout.size_bytes == sum(map(len, expected.values())) + 10
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "app.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((root / "src").stat().st_mode) == 0o755
    steps = [(type(e), e.step) for e in told.events if isinstance(e, StepStarted | StepFinished)]
    assert steps == [(cls, step) for step in (Step.CLONE, Step.LFS) for cls in (StepStarted, StepFinished)]
    assert told.progress(Step.CLONE, "objects")[-1].done == told.progress(Step.CLONE, "objects")[-1].total
    assert leftovers(at_hub) == []


def test_attributes_of_the_repository_change_nothing(at_hub: Settings, hub: Hub) -> None:
    """`git archive` would leave out and rewrite what these attributes name."""
    attributes = "app.py export-ignore\nREADME.md export-subst ident\n*.txt text eol=lf\n"
    files = {**FILES, ".gitattributes": attributes, "README.md": "$Format:%H$ $Id$\n"}
    hub.add_space("o/n", files)
    assert contents(Path(take("o/n", at_hub).path)) == {name: text.encode() for name, text in files.items()}


def test_a_second_launch_of_a_commit_asks_for_its_name_only(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**FILES, "m.bin": b"m" * 9000}, lfs=("*.bin",))
    first = take("o/n", at_hub)
    refs, pack = hub.served("git-refs"), hub.served("git-pack")
    lfs = hub.served("lfs-batch"), hub.served("lfs-object")
    second = take("o/n", at_hub, name="two")
    assert contents(Path(second.path)) == contents(Path(first.path))
    assert (hub.served("lfs-batch"), hub.served("lfs-object")) == lfs
    assert hub.served("git-refs").requests == refs.requests + 1
    assert hub.served("git-pack") == pack
    before = hub.served("git-refs"), hub.served("git-pack")
    take(f"o/n@{first.commit}", at_hub)
    assert (hub.served("git-refs"), hub.served("git-pack")) == before


def test_a_new_commit_brings_only_the_difference(at_hub: Settings, hub: Hub) -> None:
    noise, model = os.urandom(200_000), os.urandom(300_000)
    hub.add_space("o/n", {**FILES, "noise.dat": noise, "m.bin": model}, lfs=("*.bin",))
    take("o/n", at_hub)
    pack, lfs = hub.served("git-pack"), hub.served("lfs-object")
    assert pack.bytes > 200_000
    assert lfs.bytes == 300_000
    new = hub.commit("o/n", {"app.py": "print('new')\n", "m2.bin": b"2" * 1000, "again.bin": model})
    checkout = take("o/n", at_hub)
    assert checkout.commit == new
    assert contents(Path(checkout.path))["app.py"] == b"print('new')\n"
    assert contents(Path(checkout.path))["again.bin"] == model
    assert hub.served("git-pack").bytes - pack.bytes < 5_000
    assert hub.served("lfs-object").bytes - lfs.bytes == 1000


def test_every_kind_of_revision(at_hub: Settings, hub: Hub) -> None:
    first = hub.add_space("o/n", FILES)
    second = hub.commit("o/n", {"app.py": "2"})
    branch = hub.commit("o/n", {"app.py": "b"}, branch="feature/x")
    pull = hub.commit("o/n", {"app.py": "p"}, branch="refs/pr/1")
    repository = hub.repository("o/n")
    repository.git("tag", "light", first)
    repository.git("-c", "user.name=x", "-c", "user.email=x@x", "tag", "-a", "-m", "t", "annotated", first)
    expected = {None: second, "main": second, "feature/x": branch, "refs/pr/1": pull, "light": first}
    expected |= {"annotated": first, first: first, second[:8]: second, first[:10]: first, "refs/heads/main": second}
    for revision, sha in expected.items():
        assert take(f"o/n@{revision}" if revision else "o/n", at_hub).commit == sha, revision


def test_a_page_of_a_branch_with_slashes(at_hub: Settings, hub: Hub) -> None:
    """The address does not say where the branch ends and the path begins; the names that there are do."""
    main = hub.add_space("o/n", FILES)
    branch = hub.commit("o/n", {"app.py": "b", "src/x.py": ""}, branch="feature/x")
    plain = hub.commit("o/n", {"app.py": "d", "docs/x.py": ""}, branch="dev")
    hub.repository("o/n").git("tag", "dev/docs", main)
    pages = {
        "tree/feature/x": ("feature/x", branch),
        "tree/feature/x/src": ("feature/x", branch),
        "blob/feature/x/src/x.py": ("feature/x", branch),
        "tree/feature%2Fx/src": ("feature/x", branch),
        "blob/dev/app.py": ("dev", plain),
        "blob/dev/docs/x.py": ("dev/docs", main),
        f"blob/{branch[:9]}/src/x.py": (branch[:9], branch),
        "blob/main/app.py": ("main", main),
    }
    for page, (revision, sha) in pages.items():
        asked = hub.served("git-refs").requests
        checkout = take(f"{at_hub.hf_endpoint}/spaces/o/n/{page}", at_hub)
        assert (checkout.ref.revision, checkout.ref.tail, checkout.commit) == (revision, "", sha), page
        assert hub.served("git-refs").requests <= asked + 3, page
    with pytest.raises(RevisionNotFound, match=r"no revision feature or feature/y\."):
        take(f"{at_hub.hf_endpoint}/spaces/o/n/tree/feature/y/src", at_hub)
    with pytest.raises(RevisionNotFound, match=r"no revision main/src\."):
        take("o/n@main/src", at_hub)


def test_a_page_of_a_branch_when_the_origin_is_away(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    branch = hub.commit("o/n", {"app.py": "b"}, branch="feature/x")
    page = f"{at_hub.hf_endpoint}/spaces/o/n/blob/feature/x/app.py"
    take(page, at_hub)
    hub.misbehave(Fault(route="git-refs", status=503))
    checkout = take(page, at_hub)
    assert (checkout.ref.revision, checkout.commit) == ("feature/x", branch)
    assert [finding.code for finding in checkout.findings] == ["origin-out-of-reach"]


def test_a_revision_that_looks_like_a_part_of_another(at_hub: Settings, hub: Hub) -> None:
    """ls-remote matches the ends of names: `x` would be found in `feature/x`."""
    hub.add_space("o/n", FILES)
    hub.commit("o/n", {"app.py": "b"}, branch="feature/x")
    with pytest.raises(RevisionNotFound):
        take("o/n@x", at_hub)


@pytest.mark.parametrize("revision", ["gone", "f" * 40, "fffffff", "refs/pr/7"])
def test_an_unknown_revision(at_hub: Settings, hub: Hub, revision: str) -> None:
    hub.add_space("o/n", FILES)
    with pytest.raises(RevisionNotFound) as caught:
        take(f"o/n@{revision}", at_hub)
    assert "40 digits" in caught.value.hint
    assert not at_hub.space("one").app.exists()
    assert leftovers(at_hub) == []
    assert list(at_hub.mirrors_dir.glob("*.git")) == []


def test_a_space_without_a_commit(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    hub.repository("o/n").git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(RevisionNotFound, match="no commits yet"):
        take("o/n", at_hub)


def test_not_found_and_private(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/private", FILES, private=True)
    hub.accept(TOKEN)
    with_token = replace(at_hub, hf_token=TOKEN)
    with pytest.raises(AccessDenied, match="or it is private") as caught:
        take("o/private", at_hub)
    assert "hf auth login" in caught.value.hint
    with pytest.raises(AccessDenied, match="or it is private"):
        take("o/missing", at_hub)
    with pytest.raises(SpaceNotFound):
        take("o/missing", with_token)
    with pytest.raises(AccessDenied, match="token does not open"):
        take("o/private", replace(at_hub, hf_token="hf_revoked"))
    assert take("o/private", with_token).commit
    assert leftovers(at_hub) == []


def test_the_token_is_in_no_argument_file_or_log(at_hub: Settings, hub: Hub) -> None:
    """A wrapper in git's place writes down every command line; then the whole state directory is searched."""
    settings = replace(at_hub, hf_token=TOKEN)
    hub.accept(TOKEN)
    hub.add_space("o/private", {**FILES, "m.bin": b"m" * 5000}, lfs=("*.bin",), private=True)
    wrappers = at_hub.home_dir / "wrappers"
    wrappers.mkdir()
    for name in ("git", "git-lfs"):
        real = shutil.which(name)
        wrapper = wrappers / name
        wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{wrappers}/arguments\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
    told = Told()
    checkout = take("o/private", replace(settings, path=f"{wrappers}:{settings.path}"), told)
    arguments = (wrappers / "arguments").read_text()
    assert "ls-remote" in arguments
    assert "lfs fetch" in arguments
    secrets = [TOKEN.encode(), *{header.encode() for _, header in hub.authorizations if header}]
    secrets += [secret.rpartition(b" ")[2] for secret in secrets]
    assert len(secrets) == 4
    files = [path.read_bytes() for path in settings.home_dir.rglob("*") if path.is_file()]
    haystack = b"\n".join([*files, repr(told).encode(), repr(checkout).encode(), repr(settings).encode()])
    assert not [secret for secret in secrets if secret in haystack]


def test_the_token_goes_to_the_hub_only(settings: Settings, hub: Hub) -> None:
    """A git host that the owner allowed gets none of it, though it asks."""
    hub.add_space("o/private", FILES, private=True)
    host = hub.endpoint.partition("://")[2]
    settings = replace(settings, hf_token=TOKEN, git_hosts=(host,))
    with pytest.raises(AccessDenied):
        take(f"{hub.endpoint}/spaces/o/private", settings)
    assert {header for _, header in hub.authorizations} == {""}


def test_a_failure_does_not_tell_the_token(at_hub: Settings, hub: Hub) -> None:
    settings = replace(at_hub, hf_token=TOKEN)
    with pytest.raises(CheckoutError) as caught:
        take("o/n", settings)
    error: BaseException | None = caught.value
    while error:
        assert TOKEN not in f"{error} {error.args!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_repository_on_an_allowed_host(settings: Settings, hub: Hub) -> None:
    sha = hub.add_space("o/n", {**FILES, "m.bin": b"m" * 5000}, lfs=("*.bin",))
    settings = replace(settings, git_hosts=(hub.endpoint.partition("://")[2],))
    checkout = take(f"{hub.endpoint}/spaces/o/n.git@main", settings)
    assert (checkout.ref.kind, checkout.commit) == (RefKind.GIT, sha)
    assert contents(Path(checkout.path))["m.bin"] == b"m" * 5000
    with pytest.raises(SpaceNotFound):
        hub.accept("x")
        take(f"{hub.endpoint}/nothing/here", settings)


LIBRARY: Contents = {
    "README.md": "# A library",
    "src/library.py": "",
    "demos/one/README.md": FILES["README.md"],
    "demos/one/app.py": "print('one')\n",
    "demos/one/m.bin": b"m" * 5000,
    "demos/one/out": Symlink("../two/app.py"),
    "demos/two/app.py": "print('two')\n",
    "demos/two/m.bin": b"n" * 7000,
}
ONE: dict[str, bytes | str] = {
    "README.md": b"---\nsdk: gradio\n---\n",
    "app.py": b"print('one')\n",
    "m.bin": b"m" * 5000,
}


@pytest.mark.parametrize("page", ["/-/tree/release/1/demos/one", "@release/1"])
def test_a_space_in_a_folder_of_a_repository(settings: Settings, hub: Hub, page: str) -> None:
    """Where the revision ends the origin knows; of large files only the folder's own are fetched."""
    hub.add_space("o/n", FILES, lfs=("*.bin",))
    hub.commit("o/n", LIBRARY, branch="release/1")
    settings = replace(settings, git_hosts=(hub.endpoint.partition("://")[2],))
    checkout = take(f"{hub.endpoint}/spaces/o/n{page}", settings)
    assert contents(Path(checkout.path)) == ONE
    assert (checkout.ref.revision, checkout.ref.folder, checkout.lfs_bytes) == ("release/1", "demos/one", 5000)
    assert hub.served("lfs-object").requests == 1
    guessed = ["space-in-folder"] if page.startswith("@") else []
    assert [finding.code for finding in checkout.findings] == [*guessed, "link-left-out"]


def test_a_folder_that_is_not_in_the_repository(settings: Settings, hub: Hub) -> None:
    hub.add_space("o/n", LIBRARY)
    settings = replace(settings, git_hosts=(hub.endpoint.partition("://")[2],))
    with pytest.raises(FolderNotFound):
        take(f"{hub.endpoint}/spaces/o/n/-/tree/main/demos/three", settings)
    with pytest.raises(RevisionNotFound):
        take(f"{hub.endpoint}/spaces/o/n/-/tree/dev/demos/one", settings)
    assert leftovers(settings) == []


def test_a_space_on_the_hub_is_its_whole_repository(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {"README.md": "# Nothing", "demo/README.md": FILES["README.md"]})
    assert len(take("o/n", at_hub).files) == 2


def test_a_directory_with_its_space_in_a_folder(settings: Settings, tmp_path: Path) -> None:
    for name in ("README.md", "demos/one/README.md", "demos/one/app.py"):
        (tmp_path / "library" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "library" / name).write_text(str(LIBRARY[name]))
    checkout = take(str(tmp_path / "library"), settings)
    assert sorted(contents(Path(checkout.path))) == ["README.md", "app.py"]
    assert [finding.code for finding in checkout.findings] == ["space-in-folder"]
    (tmp_path / "library" / "other").mkdir()
    (tmp_path / "library" / "other" / "README.md").write_text(FILES["README.md"])
    with pytest.raises(FolderNotFound):
        take(str(tmp_path / "library"), settings)
    assert take(str(tmp_path / "library" / "other"), settings).findings == ()


def test_a_running_spaces_address_is_resolved_by_the_hub(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("Some-Owner/my.space", FILES)
    checkout = take("https://some-owner-my-space.hf.space/", at_hub)
    assert (checkout.ref.kind, checkout.ref.source) == (RefKind.HUB, "Some-Owner/my.space")
    with pytest.raises(SpaceNotFound):
        take("https://no-such-space.hf.space", at_hub)
    hub.add_space("owner-x/private-space", FILES, private=True)
    hub.accept(TOKEN)
    with pytest.raises(SpaceNotFound):
        take("https://owner-x-private-space.hf.space", at_hub)
    found = take("https://owner-x-private-space.hf.space", replace(at_hub, hf_token=TOKEN))
    assert found.ref.source == "owner-x/private-space"


# Trees that were made to harm


def test_hostile_links_are_left_out(at_hub: Settings, hub: Hub) -> None:
    links = {
        "absolute": Symlink("/etc/passwd"),
        "up": Symlink("../../../../etc/passwd"),
        "deep/er/root": Symlink("../.."),  # harmless alone
        "sly": Symlink("deep/er/root/../outside"),  # leaves by way of the one before
        "loop": Symlink("loop"),
        "chain": Symlink("up"),
        "dir/good": Symlink("../app.py"),
        "dangling": Symlink("not-there"),
    }
    hub.add_space("o/n", {**FILES, **links})
    checkout = take("o/n", at_hub)
    root = Path(checkout.path)
    kept = {name for name in links if (root / name).is_symlink()}
    assert kept == {"deep/er/root", "dir/good", "dangling"}
    assert all(path.resolve().is_relative_to(root) for path in root.rglob("*"))
    (finding,) = checkout.findings
    assert (finding.code, finding.lines) == ("link-left-out", ("absolute", "chain", "loop", "sly", "up"))


def test_submodules_are_left_out_with_a_finding(at_hub: Settings, hub: Hub) -> None:
    modules = '[submodule "lib"]\n\tpath = lib\n\turl = https://evil.example/x\n'
    hub.add_space("o/n", {**FILES, ".gitmodules": modules, "lib": Submodule()})
    checkout = take("o/n", at_hub)
    assert [finding.code for finding in checkout.findings] == ["submodule-left-out"]
    assert list((Path(checkout.path) / "lib").iterdir()) == []


@pytest.mark.parametrize("name", [".git", ".GIT", ".git ", "..", "a\nb", "a\x1b[2J", "git~1"])
def test_names_that_no_honest_tree_has(at_hub: Settings, hub: Hub, name: str) -> None:
    hub.add_space("o/n", FILES)
    hub.repository("o/n").commit_tree([("100644", "app.py", b"x"), ("100644", name, b"x")])
    with pytest.raises(UnsafeTree) as caught:
        take("o/n", at_hub)
    assert all(line.isprintable() for line in caught.value.lines)
    assert not at_hub.space("one").app.exists()
    assert leftovers(at_hub) == []


def test_a_link_and_a_directory_of_one_name(at_hub: Settings, hub: Hub) -> None:
    """A file must not be written through a link that the tree brought."""
    hub.add_space("o/n", FILES)
    repository = hub.repository("o/n")
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"owned").decode().strip()
    inner = b"100644 owned\0" + bytes.fromhex(blob)
    repository.commit_tree([("120000", "a", str(at_hub.home_dir).encode()), ("40000", "a", inner)])
    with pytest.raises(UnsafeTree):
        take("o/n", at_hub)
    assert not (at_hub.home_dir / "owned").exists()


def test_old_repositories_with_harmless_mistakes_arrive(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    repository = hub.repository("o/n")
    sha = repository.commit_tree([("100644", "app.py", b"x"), ("040000", "zero", b"")])
    commit = (
        repository.git("cat-file", "commit", sha).replace(b"<test@example.com>", b"<>").replace(b"+0000", b"+051800")
    )
    odd = repository.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=commit).decode().strip()
    repository.git("update-ref", "refs/heads/main", odd)
    assert take("o/n", at_hub).commit == odd


def test_a_name_that_is_no_utf8_is_left_out(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    hub.repository("o/n").commit_tree([("100644", "app.py", b"x"), ("100644", "caf\udce9.txt", b"x")])
    checkout = take("o/n", at_hub)
    assert list(contents(Path(checkout.path))) == ["app.py"]
    assert [finding.code for finding in checkout.findings] == ["name-left-out"]


def test_hooks_and_templates_of_this_machine_do_nothing(
    at_hub: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's own git configuration would run this program and rewrite the address."""
    marker = at_hub.home_dir / "ran"
    config = at_hub.home_dir / "gitconfig"
    config.write_text(
        f"[core]\n\tfsmonitor = touch {marker}\n\thooksPath = {at_hub.home_dir}\n"
        f'[credential]\n\thelper = !touch {marker}\n[url "http://127.0.0.1:1/"]\n\tinsteadOf = {hub.endpoint}/\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_EXEC_PATH"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("GIT_TRACE", "1")
    hub.add_space("o/n", FILES)
    assert take("o/n", at_hub).commit
    assert not marker.exists()


def test_http_is_spoken_with_this_machine_only(settings: Settings) -> None:
    with pytest.raises(CheckoutError, match="https only"):
        take("o/n", replace(settings, hf_endpoint="http://hub.invalid"))
    with pytest.raises(RefError):
        parse("http://hub.invalid/spaces/o/n", replace(settings, hf_endpoint="http://hub.invalid"))


# Networks and machines that fail


def test_a_connection_that_is_cut_leaves_nothing_half_made(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**FILES, "noise": os.urandom(100_000)})
    hub.misbehave(Fault(route="git-pack", times=99, drop_after=700))
    with pytest.raises(NetworkFailed) as caught:
        take("o/n", at_hub)
    assert "start it again" in caught.value.hint
    assert list(at_hub.mirrors_dir.glob("*.git")) == []
    assert leftovers(at_hub) == []
    hub.behave()
    assert take("o/n", at_hub).commit


def test_a_cut_connection_keeps_what_had_arrived_complete(at_hub: Settings, hub: Hub) -> None:
    first = hub.add_space("o/n", FILES)
    take("o/n", at_hub)
    second = hub.commit("o/n", {"noise": os.urandom(100_000)})
    hub.misbehave(Fault(route="git-pack", times=99, drop_after=700))
    with pytest.raises(NetworkFailed):
        take(f"o/n@{second}", at_hub)
    hub.behave()
    assert leftovers(at_hub) == []
    assert (at_hub.space("one").app / "app.py").exists()  # the launch before stays as it was
    before = hub.served("git-pack")
    assert take(f"o/n@{first}", at_hub).commit == first
    assert hub.served("git-pack") == before
    assert take(f"o/n@{second}", at_hub).commit == second


def test_a_killed_fetch_does_not_stop_the_next(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    take("o/n", at_hub)
    (mirror,) = at_hub.mirrors_dir.glob("*.git")
    (mirror / "shallow.lock").touch()
    (mirror / "objects" / "pack" / "tmp_pack_x").write_bytes(b"x")
    (at_hub.mirrors_dir / f".tmp-{mirror.name}").mkdir()
    (at_hub.space("one").root / "tmp-new-app").mkdir()
    new = hub.commit("o/n", {"app.py": "2"})
    assert take("o/n", at_hub).commit == new
    assert not (at_hub.space("one").root / "tmp-new-app").exists()
    assert not (mirror / "objects" / "pack" / "tmp_pack_x").exists()


def test_a_stall_ends(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**FILES, "noise": os.urandom(100_000)})
    hub.misbehave(Fault(route="git-pack", times=99, stall_after=700, stall_s=30))
    begun = time.monotonic()
    with pytest.raises(NetworkFailed):
        take("o/n", replace(at_hub, network_stall_s=2))
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(("status", "words"), [(429, "429"), (503, "failed or was cut"), (500, "failed or was cut")])
def test_a_server_that_refuses(at_hub: Settings, hub: Hub, status: int, words: str) -> None:
    hub.add_space("o/n", FILES)
    hub.misbehave(Fault(route="git-refs", times=99, status=status))
    with pytest.raises(NetworkFailed, match=words) as caught:
        take("o/n", at_hub)
    assert caught.value.hint
    assert str(status) in "\n".join(caught.value.lines)


def test_without_the_hub_the_last_commit_starts(at_hub: Settings, hub: Hub) -> None:
    sha = hub.add_space("o/n", FILES)
    hub.commit("o/n", {"app.py": "other"}, branch="other")
    take("o/n", at_hub)
    hub.misbehave(Fault(route="git-refs", times=99, status=503))
    checkout = take("o/n", at_hub)
    assert checkout.commit == sha
    assert [finding.code for finding in checkout.findings] == ["origin-out-of-reach"]
    with pytest.raises(NetworkFailed):
        take("o/n@other", at_hub)


def test_a_hub_that_is_not_there(settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for text in ("o/n", "https://o-n.hf.space"):
        with pytest.raises(NetworkFailed) as caught:
            take(text, replace(settings, hf_endpoint=endpoint))
        assert endpoint.rpartition("/")[2] in caught.value.hint


def test_many_launches_at_once_fetch_once(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", {**FILES, "noise": os.urandom(300_000), "m.bin": os.urandom(200_000)}, lfs=("*.bin",))
    barrier = threading.Barrier(20)

    def launch(index: int) -> str:
        barrier.wait(timeout=30)
        return take("o/n", at_hub, name=f"space-{index}").commit

    with ThreadPoolExecutor(20) as pool:
        commits = list(pool.map(launch, range(20)))
    assert len(set(commits)) == 1
    assert hub.served("lfs-batch").requests == 1
    assert hub.served("lfs-object").bytes == 200_000
    assert hub.served("git-pack").bytes < 2 * 300_000
    trees = [contents(at_hub.space(f"space-{index}").app) for index in range(20)]
    assert all(tree == trees[0] for tree in trees)
    assert leftovers(at_hub) == []


def test_a_disk_that_is_too_small_for_the_plain_files(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    with pytest.raises(DiskTooSmall):
        take("o/n", replace(at_hub, disk_floor_bytes=1 << 60))
    assert not at_hub.space("one").app.exists()


def test_the_mirrors_are_the_runners_alone(at_hub: Settings, hub: Hub) -> None:
    hub.add_space("o/n", FILES)
    take("o/n", at_hub)
    assert stat.S_IMODE(at_hub.mirrors_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(at_hub.space("one").app.stat().st_mode) == 0o755


def test_git_that_is_not_installed(at_hub: Settings, hub: Hub) -> None:
    with pytest.raises(CheckoutError, match="git is not installed") as caught:
        take("o/n", replace(at_hub, path="/nonexistent"))
    assert "apt-get install" in caught.value.hint


# Directories


def test_a_directory_is_copied(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "space"
    for folder in ("src", ".venv", "src/__pycache__", "keep"):
        (source / folder).mkdir(parents=True)
    for path in ("app.py", "src/a.py", ".venv/x", "src/__pycache__/a.pyc"):
        (source / path).write_text(path)
    (source / "app.py").chmod(0o755)
    (source / "inside").symlink_to("src/a.py")
    (source / "outside").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    first = take(str(source), settings)
    root = Path(first.path)
    assert contents(root) == {"app.py": b"app.py", "src/a.py": b"src/a.py", "inside": "src/a.py"}
    assert os.access(root / "app.py", os.X_OK)
    assert {finding.code for finding in first.findings} == {"link-left-out", "special-file-left-out"}
    assert (len(first.commit), first.committed_at) == (40, None)
    assert take(str(source), settings).commit == first.commit
    (source / "src" / "a.py").write_text("changed")
    assert take(str(source), settings).commit != first.commit
    (root / "app.py").write_text("the Space wrote this")
    assert (source / "app.py").read_text() == "app.py"


@pytest.mark.parametrize("packed", [False, True])
def test_the_date_of_a_work_tree_is_read_without_running_git(
    settings: Settings, hub: Hub, tmp_path: Path, packed: bool
) -> None:
    """The tree brings a program that git would run; its last commit's date is found all the same."""
    hub.add_space("o/n", FILES)
    source, marker = tmp_path / "clone", tmp_path / "ran"
    subprocess.run(["git", "clone", "--quiet", f"{hub.endpoint}/spaces/o/n", str(source)], check=True)
    if packed:
        subprocess.run(["git", "-C", str(source), "gc", "--quiet"], check=True)
    with (source / ".git" / "config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = touch {marker}\n[filter "x"]\n\tsmudge = touch {marker}\n')
    checkout = take(str(source), settings)
    assert checkout.committed_at == "2023-05-04T03:02:01+00:00"
    assert not (Path(checkout.path) / ".git").exists()
    assert not marker.exists()
    (source / ".git" / "HEAD").write_text("ref: refs/../../../etc/passwd\n")
    assert take(str(source), settings).committed_at is None


def test_a_state_directory_inside_the_directory_is_not_copied(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x")
    inside = replace(settings, home=str(tmp_path / "state"))
    for _ in range(2):
        assert contents(Path(take(str(tmp_path), inside).path)) == {"app.py": b"x"}


def test_a_directory_that_cannot_be_copied_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x")
    ref = parse(str(tmp_path), settings)
    shutil.rmtree(tmp_path)
    from spaces_runner.checkout import obtain

    with pytest.raises(RunnerError):
        obtain(ref, settings.space("one").app, settings, Told().reporter)
    assert leftovers(settings) == []

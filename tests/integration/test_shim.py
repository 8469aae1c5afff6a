"""Real shims of real apps: from the start to every kind of end."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from spaces_runner import looking, stopping
from spaces_runner.logfile import dropped, files
from spaces_runner.ports import PortBlock
from spaces_runner.process import identify, read_process
from spaces_runner.secrets import Secrets
from spaces_runner.shim.app import environment
from spaces_runner.shim.supervisor import Backoff
from spaces_runner.store import Store
from spaces_runner.types import Exited, Failed, LaunchPlan, Sdk, Stage, StageChanged
from tests.support.shims import SERVE, Shim, Shims, files_with, until

QUICK = Backoff(first_s=0.05, healthy_s=60.0, crashes=5)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a Space a user of its own")


def get(url: str | None) -> str:
    assert url is not None
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def stages(shim: Shim) -> list[Stage]:
    found = Store(shim.settings).events(shim.admission.run_id)
    return [event.stage for _, event in found if isinstance(event, StageChanged)]


def test_an_app_starts_answers_and_stops(shims: Shims) -> None:
    shim = shims.start("\n    print('hello')" + SERVE)
    status = shim.until_stage(Stage.RUNNING).status
    assert get(status.local_url) == "ok"
    assert status.share_url is None
    assert status.pid is not None
    assert status.ready_at is not None
    status = stopping.stop(shim.id, shims.settings)
    assert status.stage is Stage.STOPPED
    assert status.local_url is None
    assert status.error is None
    assert status.ended_at is not None
    assert shim.process.wait(5) == 0
    assert shim.family.members() == ()
    assert stages(shim) == [Stage.APP_STARTING, Stage.RUNNING, Stage.STOPPED]


def test_its_links_lead_to_the_path_that_its_author_names(shims: Shims) -> None:
    shim = shims.start(SERVE, base_path="/ui?tab=1")
    url = shim.until_stage(Stage.RUNNING).status.local_url
    assert url is not None
    assert (urlsplit(url).path, urlsplit(url).query) == ("/ui", "tab=1")
    assert get(url) == "ok"


def test_stopping_twice_is_no_error(shims: Shims) -> None:
    shim = shims.start(SERVE)
    shim.until_stage(Stage.RUNNING)
    stopping.stop(shim.id, shims.settings)
    assert stopping.stop(shim.id, shims.settings).stage is Stage.STOPPED


def test_a_stop_before_the_app_answers(shims: Shims) -> None:
    shim = shims.start("import time; time.sleep(60)")
    shim.until_stage(Stage.APP_STARTING)
    assert stopping.stop(shim.id, shims.settings).stage is Stage.STOPPED
    assert shim.family.members() == ()


@AS_ROOT
@pytest.mark.parametrize("tools", ["util-linux", "our own"])
def test_an_app_is_an_unprivileged_user_with_limits(shims: Shims, tools: str) -> None:
    if tools == "our own":
        shims.settings = replace(shims.settings, path="/nowhere")
    source = """
    import os, resource
    print("ids", os.getresuid(), os.getresgid(), os.getgroups())
    print("files", resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC)[0] > 100)
    for line in open("/proc/self/status"):
        if line.startswith(("Cap", "NoNewPrivs")):
            print(*line.split())
    print("oom", open("/proc/self/oom_score_adj").read().strip())
    print("leader", os.getsid(0) == os.getpid())
    open("own", "w").close() if os.access(".", os.W_OK) else print("app is read-only")
    for path in (os.environ["HOME"], os.environ["TMPDIR"], "../data"):
        open(os.path.join(path, "own"), "w").close()
    for path in ("..", "../logs", "../run"):
        try:
            print("listed", path, os.listdir(path))
        except PermissionError:
            print("closed", path)
    """
    shim = shims.start(source + SERVE)
    shim.until_stage(Stage.RUNNING)
    user = Store(shims.settings).user(shim.run.space)
    assert user is not None
    uid = user.uid
    assert f"ids ({uid}, {uid}, {uid}) ({uid}, {uid}, {uid}) []" in shim.log
    assert "files (0, 0) True" in shim.log
    for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"):
        assert f"{name} 0000000000000000" in shim.log
    assert "NoNewPrivs: 1" in shim.log
    assert "oom 800" in shim.log
    assert "leader True" in shim.log
    assert [line for line in shim.log if line.startswith("closed")] == ["closed ..", "closed ../logs", "closed ../run"]


@AS_ROOT
def test_two_spaces_are_two_users(shims: Shims) -> None:
    one, two = shims.start(SERVE, name="one"), shims.start(SERVE, name="two")
    users = {Path(f"/proc/{shim.until_stage(Stage.RUNNING).status.pid}").stat().st_uid for shim in (one, two)}
    assert len(users) == 2


def test_the_environment_is_the_plans_and_the_secrets_are_there(shims: Shims) -> None:
    source = """
    import base64, os, sys
    value = os.environ["API_KEY"]
    print("names", sorted(name for name in os.environ if name not in ("LC_CTYPE",)))
    print("length", len(value))
    print("plain", value, "base64", base64.b64encode(value.encode()).decode())
    sys.stdout.write(value[:9]); sys.stdout.flush(); import time; time.sleep(0.3); print(value[9:])
    """
    value = "hunter2-and-more/+?"
    shim = shims.start(source + SERVE, values={"API_KEY": value})
    shim.until_stage(Stage.RUNNING)
    names = ["API_KEY", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "HOME", "PATH", "PORT", "PYTHONUNBUFFERED",
             "SPACES_RUNNER_RUN", "SPACES_RUNNER_SOCKET", "TMPDIR"]  # fmt: skip
    assert f"names {names}" in shim.log
    assert f"length {len(value)}" in shim.log
    assert "plain [secret] base64 [secret]" in shim.log
    assert "[secret]" in shim.log
    stopping.stop(shim.id, shims.settings)
    holders = files_with(value, shims.settings.home_dir)
    assert holders == [str(shims.settings.secrets_dir / f"{shim.id}.json")]


def test_a_space_is_told_where_it_answers() -> None:
    def env(**given: str) -> dict[str, str]:
        plan = LaunchPlan(argv=("python",), cwd="/", env=given, sdk=Sdk.GRADIO)
        return environment(plan, Secrets(), PortBlock(base=20010), Path("/s"), "run-1")

    assert env(SPACE_ID="owner/name")["SPACE_HOST"] == "127.0.0.1:20010"
    assert env(SPACE_ID="owner/name", SPACE_HOST="my.example")["SPACE_HOST"] == "my.example"
    assert "SPACE_HOST" not in env(), "the core is no Space"


def test_secrets_are_in_no_argument(shims: Shims) -> None:
    shim = shims.start(SERVE, values={"API_KEY": "hunter2-and-more"})
    shim.until_stage(Stage.RUNNING)
    for member in (*shim.family.members(), shim.run.shim):
        assert member is not None
        assert b"hunter2" not in Path(f"/proc/{member.pid}/cmdline").read_bytes()


LOOKING = """
import gc, json, os, subprocess, sys, threading, time
from spaces_runner.codec import decode
from spaces_runner.job import Job
from spaces_runner.settings import Settings
from spaces_runner.shim.supervisor import Supervisor
from spaces_runner.store import Store
from spaces_runner.types import Stage

def begin():
    told = json.load(sys.stdin)
    pipeline = "import json, sys; job = json.load(sys.stdin); assert job['settings']['hf_token']; print(sys.argv[1])"
    command = [sys.executable, "-c", pipeline, json.dumps({"plan": told["plan"]})]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return Supervisor(decode(Job, told["job"])), subprocess.Popen(command, start_new_session=True, **pipes)

def holding():
    return sum(isinstance(one, Settings) and one.hf_token is not None for one in gc.get_objects())

def look(settings, space_id, before):
    while Store(settings).run(space_id).status.stage is not Stage.RUNNING:
        time.sleep(0.05)
    (settings.home_dir / "held").write_text(f"{before} {holding()}")

supervisor, pipeline = begin()
known = (supervisor._store._settings, supervisor._job.space_id, holding())
threading.Thread(target=look, args=known, daemon=True).start()
supervisor.run(pipeline)
"""


def test_a_shim_holds_the_owners_token_no_longer_than_its_pipeline_needs_it(shims: Shims) -> None:
    shims.settings = replace(shims.settings, hf_token="hf_averysecrettoken0123456789")
    shims.program = LOOKING
    shims.start(SERVE).until_stage(Stage.RUNNING)
    held = shims.settings.home_dir / "held"
    until(lambda: held.exists() and bool(held.read_text()))
    assert held.read_text() == "1 0", "objects that hold it, before and after the build"


def test_an_app_that_ends_at_once(shims: Shims) -> None:
    shim = shims.start("import sys; print('reading'); raise SystemExit(3)")
    status = shim.until_stage(Stage.RUNTIME_ERROR).status
    assert status.error is not None
    assert status.error.code == "app_exited"
    assert "with code 3" in status.error.message
    assert status.error.hint
    assert "reading" in status.error.lines
    assert status.exit_code == 3
    events = [event for _, event in Store(shims.settings).events(shim.admission.run_id)]
    assert [event.code for event in events if isinstance(event, Exited)] == [3]
    assert [event.error for event in events if isinstance(event, Failed)] == [status.error]


def test_the_traceback_and_its_cause_are_shown(shims: Shims) -> None:
    shim = shims.start("print('noise\\n' * 300)\nimport no_such_module_of_ours")
    status = shim.until_stage(Stage.RUNTIME_ERROR).status
    assert status.error is not None
    assert status.error.lines[0].startswith("Traceback")
    assert "no_such_module_of_ours" in status.error.lines[-1]
    assert status.findings, "triage knows a missing module"


def test_an_app_that_a_signal_ends(shims: Shims) -> None:
    shim = shims.start("import os; os.kill(os.getpid(), 11)")
    status = shim.until_stage(Stage.RUNTIME_ERROR).status
    assert status.error is not None
    assert "by signal 11" in status.error.message
    assert status.exit_code == 139


def test_an_app_that_never_answers_is_ended(shims: Shims) -> None:
    source = """
    import socket, time
    other = socket.create_server(("127.0.0.1", 0))
    print("port", other.getsockname()[1])
    time.sleep(60)
    """
    shim = shims.start(source, ready_timeout_s=1.5)
    status = shim.until_stage(Stage.RUNTIME_ERROR).status
    assert status.error is not None
    assert status.error.code == "never_ready"
    port = next(line.split()[1] for line in shim.log if line.startswith("port"))
    assert port in status.error.message
    assert shim.family.members() == ()


def test_a_crash_is_followed_by_another_start(shims: Shims) -> None:
    crash_once = """
    import os, threading, time
    first = not os.path.exists(os.environ["HOME"] + "/seen")
    open(os.environ["HOME"] + "/seen", "w").close()
    print("port", os.environ["PORT"])
    if first:
        threading.Thread(target=lambda: (time.sleep(3), os._exit(7))).start()
    """
    shim = shims.start(crash_once + SERVE, backoff=QUICK)
    shim.until_stage(Stage.RUNNING)
    until(lambda: shim.run.status.restarts == 1)
    status = shim.until_stage(Stage.RUNNING).status
    assert get(status.local_url) == "ok"
    assert stages(shim) == [
        Stage.APP_STARTING, Stage.RUNNING, Stage.APP_STARTING, Stage.APP_STARTING, Stage.RUNNING,
    ]  # fmt: skip
    ports = {line for line in shim.log if line.startswith("port")}
    assert len(ports) == 1, "it is where it was, so that who has its address still does"
    assert [finding.code for finding in status.findings] == ["app-crashed"]


def test_a_restart_keeps_the_address_although_it_was_just_in_use(shims: Shims) -> None:
    first = shims.start(SERVE)
    url = first.until_stage(Stage.RUNNING).status.local_url
    with httpx.Client(trust_env=False) as visitor:  # its connection is open when the app ends
        assert visitor.get(str(url)).text == "ok"
        stopping.stop(first.id, shims.settings)
        again = shims.start(SERVE).until_stage(Stage.RUNNING).status
        assert again.local_url == url
    other = shims.start(SERVE, name="other").until_stage(Stage.RUNNING).status
    assert other.local_url != url


def test_a_restart_is_elsewhere_where_somebody_has_taken_its_port(shims: Shims) -> None:
    first = shims.start(SERVE)
    url = str(first.until_stage(Stage.RUNNING).status.local_url)
    stopping.stop(first.id, shims.settings)
    with socket.create_server(("127.0.0.1", urlsplit(url).port or 0)):
        again = shims.start(SERVE).until_stage(Stage.RUNNING).status
        assert again.local_url != url
        assert get(again.local_url) == "ok"


def test_five_crashes_in_a_row_are_the_end(shims: Shims) -> None:
    crash = """
    import os, threading, time
    threading.Thread(target=lambda: (time.sleep(2.6), os._exit(0))).start()
    print("a life begins", flush=True)
    """
    shim = shims.start(crash + SERVE, backoff=Backoff(first_s=0.05, crashes=2))
    shim.until_stage(Stage.RUNNING)
    status = shim.until_stage(Stage.RUNTIME_ERROR, timeout=30).status
    assert status.error is not None
    assert status.error.code == "crash_loop"
    assert status.error.lines.count("a life begins") == 1  # what it said in an earlier life is no cause of this end
    assert "ended without serving" in status.error.hint
    assert status.restarts == 1


def test_the_pauses_double() -> None:
    assert [Backoff().pause(crashes) for crashes in range(1, 5)] == [1, 2, 4, 8]


def test_a_stop_during_the_pause(shims: Shims) -> None:
    crash = """
    import os, threading, time
    threading.Thread(target=lambda: (time.sleep(2.6), os._exit(1))).start()
    """
    shim = shims.start(crash + SERVE, backoff=Backoff(first_s=30.0))
    shim.until_stage(Stage.RUNNING)
    until(lambda: shim.run.status.restarts == 1)
    begun = time.monotonic()
    assert stopping.stop(shim.id, shims.settings).stage is Stage.STOPPED
    assert time.monotonic() - begun < 3


NASTY = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    def daemon(body, **options):
        code = "import os, signal, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
        code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" + body
        subprocess.run([sys.executable, "-S", "-c", code], **options)
    daemon("time.sleep(300)")
    daemon("time.sleep(300)", env={})
    daemon("while True:\\n print('spew' * 200)")
    storm = "while True:\\n try:\\n  os.fork() and (time.sleep(0.02), os._exit(0))\\n except OSError: time.sleep(0.01)"
    daemon(storm)
"""


def test_a_nasty_family_is_stopped_within_15_seconds(shims: Shims) -> None:
    """Double-forked, in sessions of their own, deaf to TERM, without the mark, spewing, forking all the time."""
    shim = shims.start(NASTY + SERVE)
    shim.until_stage(Stage.RUNNING, timeout=40)
    assert len(shim.family.members()) >= (4 if os.geteuid() == 0 else 3)  # and the storm, where it is just seen
    begun = time.monotonic()
    assert stopping.stop(shim.id, shims.settings).stage is Stage.STOPPED
    assert time.monotonic() - begun < 15
    time.sleep(0.3)
    assert shim.family.members() == ()


ESCAPING = """
    import subprocess, sys
    body = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('away', flush=True);"
    body += "time.sleep(300)"
    subprocess.run(["sh", "-c", 'env -i setsid "$@" & echo pid $!', "sh", sys.executable, "-S", "-c", body])
"""  # the shell is gone at once: nothing says any more whose child this is


@pytest.mark.parametrize("ordinary", [True, False], ids=["an ordinary user", "whoever runs this"])
def test_who_drops_mark_session_and_parent_is_stopped_all_the_same(shims: Shims, ordinary: bool) -> None:
    shim = shims.start(ESCAPING + SERVE, ordinary=ordinary)
    app = shim.until_stage(Stage.RUNNING).app
    assert app is not None
    until(lambda: "away" in shim.log)
    away = identify(int(next(line.split()[1] for line in shim.log if line.startswith("pid"))))
    assert away is not None
    assert away.alive
    if ordinary and os.geteuid() == 0:
        assert Path(f"/proc/{app.pid}").stat().st_uid == Path(f"/proc/{shim.process.pid}").stat().st_uid > 0
    assert stopping.stop(shim.id, shims.settings).stage is Stage.STOPPED
    assert not away.alive
    assert shim.process.wait(5) == 0


def test_who_drops_all_of_it_ends_with_an_app_that_ends(shims: Shims) -> None:
    shim = shims.start(ESCAPING + "    raise SystemExit(3)", ordinary=True)
    shim.until_stage(Stage.RUNTIME_ERROR)
    away = identify(int(next(line.split()[1] for line in shim.log if line.startswith("pid"))))
    assert away is None or not away.alive


def test_killing_the_shim_ends_the_app_within_a_second(shims: Shims) -> None:
    shim = shims.start(SERVE)
    app = shim.until_stage(Stage.RUNNING).app
    assert app is not None
    shim.process.kill()
    assert app.wait(1.0)


def test_what_a_killed_shim_left_is_swept_by_the_next_face(shims: Shims) -> None:
    shim = shims.start(NASTY + SERVE)
    shim.until_stage(Stage.RUNNING, timeout=40)
    shim.process.kill()
    shim.process.wait()
    assert shim.family.members()
    assert looking.sweep(shims.settings) == (shim.id,)
    assert shim.family.members() == ()
    status = shim.run.status
    assert status.stage is Stage.RUNTIME_ERROR
    assert status.error is not None
    assert status.error.code == "shim_lost"
    assert looking.sweep(shims.settings) == ()


def test_a_sweep_leaves_alone_what_runs(shims: Shims) -> None:
    shim = shims.start(SERVE)
    shim.until_stage(Stage.RUNNING)
    assert looking.sweep(shims.settings) == ()
    assert get(shim.run.status.local_url) == "ok"


def test_orphans_come_to_the_shim_and_are_waited_for(shims: Shims) -> None:
    orphan = """
    import os, subprocess, sys
    subprocess.run([sys.executable, "-S", "-c", "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(10)"])
    """  # noqa: E501  # a program in a program
    shim = shims.start(orphan + SERVE)
    shim.until_stage(Stage.RUNNING)
    me = shim.process.pid

    def children() -> list[int]:
        found = (read_process(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [process.pid for process in found if process and process.parent == me]

    assert len(children()) == 2, "the app and its orphan"
    until(lambda: len(children()) == 1, timeout=20)
    assert shim.run.status.stage is Stage.RUNNING


def test_an_app_that_prints_fast_is_logged_whole(shims: Shims) -> None:
    shims.settings = replace(shims.settings, log_bytes=4 * 1024**2, log_files=3)
    source = """
    import sys
    for block in range(200):
        sys.stdout.write("".join(f"line {block * 5000 + number:09d} {'x' * 40}\\n" for number in range(5000)))
    """
    shim = shims.start(source + SERVE, values={"KEY": "a-secret-value"})
    shim.until_stage(Stage.RUNNING, timeout=60)
    path = shims.settings.space(shim.id).run_log
    until(lambda: shim.log[-1].startswith("line 000999999"))
    numbers = [int(line.split()[1]) for file in files(path) for line in file.read_text().splitlines()]
    assert numbers == list(range(1_000_000 - len(numbers), 1_000_000))
    assert dropped(path).lines == 1_000_000 - len(numbers)
    assert len(files(path)) == 3


def test_a_shim_at_rest_is_small_and_idle(shims: Shims) -> None:
    shim = shims.start(SERVE)
    shim.until_stage(Stage.RUNNING)
    time.sleep(6)  # the reaper looks once more
    before = used(shim.process.pid)
    time.sleep(3)
    share = (used(shim.process.pid) - before) / os.sysconf("SC_CLK_TCK") / 3
    line = next(line for line in Path(f"/proc/{shim.process.pid}/status").read_text().splitlines() if "VmRSS" in line)
    resident = int(line.split()[1]) / 1024
    print(f"a shim at rest: {resident:.1f} MiB resident, {share:.2%} of a core")
    assert resident <= 40
    assert share < 0.005  # one tick of the clock in these seconds


def used(pid: int) -> int:
    """Clock ticks that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_long_home_still_has_a_socket(shims: Shims) -> None:
    deep = shims.settings.home_dir / ("d" * 80)
    shims.settings = replace(shims.settings, home=str(deep))
    source = """
    import os
    print("socket", len(os.environ["SPACES_RUNNER_SOCKET"]))
    import socket
    socket.socket(socket.AF_UNIX).connect(os.environ["SPACES_RUNNER_SOCKET"])
    """
    shim = shims.start(source + SERVE, name="n" * 40)
    shim.until_stage(Stage.RUNNING)
    line = next(line for line in shim.log if line.startswith("socket"))
    assert int(line.split()[1]) <= 107
    room = Path(str(shim.run.app and Path(f"/proc/{shim.run.app.pid}/environ").read_bytes().partition(b"_SOCKET=")[2]
                    .partition(b"\0")[0].decode())).parent  # fmt: skip
    assert room.is_dir()
    stopping.stop(shim.id, shims.settings)
    assert not room.exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_of_a_terminal_and_a_machine(shims: Shims, number: int) -> None:
    shim = shims.start(SERVE)
    shim.until_stage(Stage.RUNNING)
    shim.process.send_signal(number)
    if number == signal.SIGHUP:
        time.sleep(0.3)
        assert shim.run.status.stage is Stage.RUNNING
    else:
        shim.until_stage(Stage.STOPPED)
        assert shim.process.wait(5) == 0

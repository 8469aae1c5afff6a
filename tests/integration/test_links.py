"""The public link of a Space that comes late, or not at all, or is lost. The Space is not disturbed by any of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import replace

import psutil
import pytest

from spaces_runner.store import Store
from spaces_runner.types import Found, Stage, StageChanged
from tests.support.share import Share
from tests.support.shims import SERVE, Shim, Shims, until

# Reports itself, as the bootstrap does, and once more when it is asked to: as https, so that the reports can be told.
REPORTS = """
    import http.server, json, os, socket
    port = int(os.environ["PORT"])
    def report(scheme):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ["SPACES_RUNNER_SOCKET"])
            question = {"ask": "up", "local_url": f"{scheme}://127.0.0.1:{port}/"}
            connection.sendall(json.dumps(question).encode() + b"\\n")
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/again":
                report("https")
            if self.path == "/crash":
                os._exit(3)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    report("http")
    server.serve_forever()
"""


def get(url: str | None) -> str:
    assert url is not None
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def test_a_missing_link_is_a_finding(shims: Shims) -> None:
    shims.settings = replace(shims.settings, share_server="http://127.0.0.1:9/none")
    shim = shims.start(SERVE, share=True)
    status = shim.until_stage(Stage.RUNNING, timeout=40).status
    assert get(status.local_url) == "ok"
    until(lambda: bool(shim.run.status.findings))
    assert [finding.code for finding in shim.run.status.findings] == ["share_failed"]
    assert shim.run.status.share_url is None
    found = [event for _, event in Store(shims.settings).events(shim.admission.run_id) if isinstance(event, Found)]
    assert len(found) == 1


def test_a_link_comes_once_the_share_server_is_back(shims: Shims, share: Share) -> None:
    share.down = True
    shims.settings = replace(share.settings(shims.settings), link_retry_s=0.2)
    shim = shims.start(SERVE, share=True)
    before = shim.until_stage(Stage.RUNNING, timeout=40)
    until(lambda: [finding.code for finding in shim.run.status.findings] == ["share_failed"])
    share.down = False
    until(lambda: shim.run.status.share_url is not None and not shim.run.status.findings, timeout=40)
    after = shim.run
    assert get(after.status.share_url) == "ok"
    assert (after.app, after.status.restarts) == (before.app, 0), "the Space was not disturbed"
    assert after.status.ready_at == before.status.ready_at
    assert links_told(shim) == [None, after.status.share_url]


def test_an_app_that_reports_again_keeps_the_link_that_came_late(shims: Shims, share: Share) -> None:
    share.down = True
    shims.settings = replace(share.settings(shims.settings), link_retry_s=0.2)
    shim = shims.start(REPORTS, share=True)
    shim.until_stage(Stage.RUNNING, timeout=40)
    until(lambda: [finding.code for finding in shim.run.status.findings] == ["share_failed"])
    share.down = False
    until(lambda: shim.run.status.share_url is not None, timeout=40)
    link = shim.run.status.share_url
    assert get(f"{shim.run.status.local_url}again") == "ok"
    until(lambda: str(shim.run.status.local_url).startswith("https:"))
    assert shim.run.status.share_url == link
    assert links_told(shim) == [None, link, link]


def test_a_second_life_with_a_link_is_not_told_as_one_without(shims: Shims, share: Share) -> None:
    share.down = True
    shims.settings = replace(share.settings(shims.settings), link_retry_s=600.0)
    shim = shims.start(REPORTS, share=True)
    shim.until_stage(Stage.RUNNING, timeout=40)
    until(lambda: [finding.code for finding in shim.run.status.findings] == ["share_failed"])
    share.down = False
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        get(f"{shim.run.status.local_url}crash")
    until(lambda: shim.run.status.share_url is not None, timeout=40)
    until(lambda: "share_failed" not in [finding.code for finding in shim.run.status.findings])
    assert shim.run.status.restarts == 1


def test_a_link_that_is_lost_is_opened_again(shims: Shims, share: Share) -> None:
    shims.settings = share.settings(shims.settings)
    shim = shims.start(SERVE, share=True)
    shim.until_stage(Stage.RUNNING, timeout=40)
    until(lambda: shim.run.status.share_url is not None, timeout=40)
    first = shim.run.status.share_url
    [client] = [child for child in psutil.Process(shim.process.pid).children() if "--server_addr" in child.cmdline()]
    client.kill()
    until(lambda: shim.run.status.share_url not in (None, first), timeout=40)
    second = shim.run.status.share_url
    assert get(second) == "ok"
    assert links_told(shim)[-3:] == [first, None, second]


def links_told(shim: Shim) -> list[str | None]:
    """The public links of the events that told of RUNNING."""
    events = [event for _, event in Store(shim.settings).events(shim.admission.run_id)]
    return [event.share_url for event in events if isinstance(event, StageChanged) and event.stage is Stage.RUNNING]

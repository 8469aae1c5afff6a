"""Every shape of launch, and what is none, in one source; the source changes in nothing else."""

# ruff: noqa: E501 - one source text a line

import ast
import time
from collections.abc import Callable

import pytest

from spaces_runner.patch.source import MAX_LAUNCHES, patch_source

GR = "import gradio as gr\n"
DEMO = GR + "demo = gr.Interface(f, 'text', 'text')\n"

# name: (before, after); each launch becomes exactly this.
SHARED: dict[str, tuple[str, str]] = {
    "plain": (DEMO + "demo.launch()\n", DEMO + "demo.launch(share=True)\n"),
    "object not called demo": (
        GR + "app = gr.Blocks()\napp.launch()",
        GR + "app = gr.Blocks()\napp.launch(share=True)",
    ),
    "with as": (
        GR + "with gr.Blocks(css=c) as ui:\n    gr.Button()\nui.launch(debug=True)\n",
        GR + "with gr.Blocks(css=c) as ui:\n    gr.Button()\nui.launch(share=True, debug=True)\n",
    ),
    "inside with": (
        GR + "with gr.Blocks() as ui, gr.Row():\n    ui.launch()\n",
        GR + "with gr.Blocks() as ui, gr.Row():\n    ui.launch(share=True)\n",
    ),
    "chained queue": (
        DEMO + "demo.queue(concurrency_count=16).launch(debug=True)",
        DEMO + "demo.queue(concurrency_count=16).launch(share=True, debug=True)",
    ),
    "anonymous": (
        GR + "gr.Interface(f,\n  'text',\n).launch()",
        GR + "gr.Interface(f,\n  'text',\n).launch(share=True)",
    ),
    "anonymous chat": (GR + "gr.ChatInterface(f).launch()", GR + "gr.ChatInterface(f).launch(share=True)"),
    "tabbed": (
        GR + "gr.TabbedInterface([gr.Interface(f), gr.Blocks()]).launch()",
        GR + "gr.TabbedInterface([gr.Interface(f), gr.Blocks()]).launch(share=True)",
    ),
    "loaded model": (
        GR + "gr.Interface.load('huggingface/gpt2').launch()",
        GR + "gr.Interface.load('huggingface/gpt2').launch(share=True)",
    ),
    "share=False": (
        DEMO + "demo.launch(share=False, inbrowser=True)",
        DEMO + "demo.launch(share=True, inbrowser=True)",
    ),
    "share from arguments": (DEMO + "demo.launch(share=args.share)", DEMO + "demo.launch(share=True)"),
    "share from an inverted flag": (DEMO + "demo.launch(share=(not args.local))", DEMO + "demo.launch(share=True)"),
    "share=None": (DEMO + "demo.launch(share = None)", DEMO + "demo.launch(share = True)"),
    "positional": (DEMO + "demo.launch(False, True, False)", DEMO + "demo.launch(False, True, True)"),
    "positional and keywords": (
        DEMO + "demo.launch(None, False, args.share, debug=True)",
        DEMO + "demo.launch(None, False, True, debug=True)",
    ),
    "two positional": (DEMO + "demo.launch(False, True)", DEMO + "demo.launch(False, True, share=True)"),
    "one positional and a keyword": (
        DEMO + "demo.launch(False, debug=1)",
        DEMO + "demo.launch(False, share=True, debug=1)",
    ),
    "positional over lines": (
        DEMO + "demo.launch(\n    False,  # inline\n    True,  # in browser\n)",
        DEMO + "demo.launch(\n    False,  # inline\n    True, share=True,  # in browser\n)",
    ),
    "keyword dictionary": (DEMO + "demo.launch(**kw)", DEMO + 'demo.launch(**{**kw, "share": True})'),
    "keyword dictionary of a function": (
        DEMO + "demo.launch(debug=True, **options())",
        DEMO + 'demo.launch(debug=True, **{**options(), "share": True})',
    ),
    "keyword dictionary with or": (
        DEMO + "demo.launch(**kw or {})",
        DEMO + 'demo.launch(**{**(kw or {}), "share": True})',
    ),
    "keyword dictionary besides share": (
        DEMO + "demo.launch(share=share, **kw)",
        DEMO + "demo.launch(share=True, **kw)",
    ),
    "literal keyword dictionary": (
        DEMO + "demo.launch(**{'share': False})",
        DEMO + "demo.launch(**{**{'share': False}, \"share\": True})",
    ),
    "lines with comments": (
        DEMO
        + "demo.launch(\n    server_name='0.0.0.0',  # all\n    # none of share=True\n    debug=True,  # last\n)\n",
        DEMO
        + "demo.launch(\n    share=True,\n    server_name='0.0.0.0',  # all\n    # none of share=True\n    debug=True,  # last\n)\n",
    ),
    "lines without a last comma": (
        DEMO + "demo.launch(\n\tdebug=True\n\t)\n",
        DEMO + "demo.launch(\n\tshare=True,\n\tdebug=True\n\t)\n",
    ),
    "comment after the parenthesis": (
        DEMO + "demo.launch(  # go (now)\n    debug=True)\n",
        DEMO + "demo.launch(  # go (now)\n    share=True,\n    debug=True)\n",
    ),
    "only a comment": (DEMO + "demo.launch(  # go\n)\n", DEMO + "demo.launch(  # go\nshare=True)\n"),
    "Windows lines": (
        (DEMO + "demo.launch(\n  debug=1)\n").replace("\n", "\r\n"),
        (DEMO + "demo.launch(\n  share=True,\n  debug=1)\n").replace("\n", "\r\n"),
    ),
    "backslashes": (
        DEMO + "demo \\\n  .queue() \\\n  .launch \\\n  (debug=1)",
        DEMO + "demo \\\n  .queue() \\\n  .launch \\\n  (share=True, debug=1)",
    ),
    "parentheses around": (
        DEMO + "(\n    demo.queue()\n    .launch()\n)",
        DEMO + "(\n    demo.queue()\n    .launch(share=True)\n)",
    ),
    "parentheses around the method": (DEMO + "(demo.launch)()", DEMO + "(demo.launch)(share=True)"),
    "unpacked result": (DEMO + "_, _, url = demo.launch()", DEMO + "_, _, url = demo.launch(share=True)"),
    "conditional receiver": (
        GR + "(gr.Blocks() if a else gr.Interface(f)).launch()",
        GR + "(gr.Blocks() if a else gr.Interface(f)).launch(share=True)",
    ),
    "conditional call": (
        DEMO + "x = demo.launch() if a else demo.launch(share=False)",
        DEMO + "x = demo.launch(share=True) if a else demo.launch(share=True)",
    ),
    "lambda": (DEMO + "start = lambda: demo.launch()", DEMO + "start = lambda: demo.launch(share=True)"),
    "await": (
        DEMO + "async def go():\n    await demo.launch()\n",
        DEMO + "async def go():\n    await demo.launch(share=True)\n",
    ),
    "function under main guard": (
        GR + "def main():\n    ui = gr.Blocks()\n    ui.launch()\nif __name__ == '__main__':\n    main()\n",
        GR + "def main():\n    ui = gr.Blocks()\n    ui.launch(share=True)\nif __name__ == '__main__':\n    main()\n",
    ),
    "function that builds": (
        GR + "def build():\n    with gr.Blocks() as b:\n        pass\n    return b\nbuild().queue().launch()",
        GR + "def build():\n    with gr.Blocks() as b:\n        pass\n    return b\nbuild().queue().launch(share=True)",
    ),
    "parameter": (
        GR + "def go(ui, port=1):\n    ui.launch(server_port=port)\ngo(gr.Blocks())",
        GR + "def go(ui, port=1):\n    ui.launch(share=True, server_port=port)\ngo(gr.Blocks())",
    ),
    "annotated parameter": (
        GR + "def go(ui: gr.Blocks) -> None:\n    ui.launch()\n",
        GR + "def go(ui: gr.Blocks) -> None:\n    ui.launch(share=True)\n",
    ),
    "global": (
        GR + "demo = None\ndef build():\n    global demo\n    demo = gr.Blocks()\nbuild()\ndemo.launch()",
        GR + "demo = None\ndef build():\n    global demo\n    demo = gr.Blocks()\nbuild()\ndemo.launch(share=True)",
    ),
    "attribute of self": (
        GR
        + "class App:\n    def __init__(self):\n        self.ui = gr.Blocks()\n    def run(self):\n        self.ui.launch()\n",
        GR
        + "class App:\n    def __init__(self):\n        self.ui = gr.Blocks()\n    def run(self):\n        self.ui.launch(share=True)\n",
    ),
    "attribute of an object": (
        GR + "class App:\n    def __init__(self):\n        self.ui = gr.Blocks()\nApp().ui.launch()",
        GR + "class App:\n    def __init__(self):\n        self.ui = gr.Blocks()\nApp().ui.launch(share=True)",
    ),
    "property": (
        GR + "class App:\n    @property\n    def ui(self):\n        return gr.Blocks()\napp = App()\napp.ui.launch()",
        GR
        + "class App:\n    @property\n    def ui(self):\n        return gr.Blocks()\napp = App()\napp.ui.launch(share=True)",
    ),
    "subclass": (
        GR + "class Mine(gr.Blocks):\n    pass\nwith Mine() as ui:\n    pass\nui.launch()",
        GR + "class Mine(gr.Blocks):\n    pass\nwith Mine() as ui:\n    pass\nui.launch(share=True)",
    ),
    "super": (
        GR
        + "class Mine(gr.Blocks):\n    def launch(self, **kw):\n        return super().launch(**kw)\nMine().launch()",
        GR + "class Mine(gr.Blocks):\n    def launch(self, **kw):\n"
        '        return super().launch(**{**kw, "share": True})\nMine().launch()',
    ),
    "unbound": (DEMO + "gr.Blocks.launch(demo, 0, 0, 0)", DEMO + "gr.Blocks.launch(demo, 0, 0, True)"),
    "loop over a list": (
        GR + "for ui in [gr.Blocks(), gr.Blocks()]:\n    ui.launch()\n",
        GR + "for ui in [gr.Blocks(), gr.Blocks()]:\n    ui.launch(share=True)\n",
    ),
    "dictionary": (
        GR + "d = {'a': gr.Blocks()}\nd['a'].launch()",
        GR + "d = {'a': gr.Blocks()}\nd['a'].launch(share=True)",
    ),
    "walrus": (
        GR + "if (ui := gr.Blocks()):\n    ui.launch()\n",
        GR + "if (ui := gr.Blocks()):\n    ui.launch(share=True)\n",
    ),
    "two on one line": (
        GR + "a = b = gr.Blocks()\na.launch(); b.launch(share=0)\n",
        GR + "a = b = gr.Blocks()\na.launch(share=True); b.launch(share=True)\n",
    ),
    "launch in the arguments of a launch": (
        DEMO + "demo.launch(server_port=demo.launch()[1])",
        DEMO + "demo.launch(share=True, server_port=demo.launch(share=True)[1])",
    ),
    "other alias": ("import gradio\ngradio.Blocks().launch()", "import gradio\ngradio.Blocks().launch(share=True)"),
    "from import": (
        "from gradio import Blocks as B\nB().launch()",
        "from gradio import Blocks as B\nB().launch(share=True)",
    ),
    "submodule import": (
        "import gradio.blocks\ngradio.blocks.Blocks().launch()",
        "import gradio.blocks\ngradio.blocks.Blocks().launch(share=True)",
    ),
    "star import": (
        "from gradio import *\nInterface(f).launch()",
        "from gradio import *\nInterface(f).launch(share=True)",
    ),
    "imported by name": (
        "import importlib\ngr = importlib.import_module('gradio')\ngr.Blocks().launch()",
        "import importlib\ngr = importlib.import_module('gradio')\ngr.Blocks().launch(share=True)",
    ),
    "wrapper of fastrtc": (
        "from fastrtc import Stream\nstream = Stream(h)\nstream.ui.launch(server_port=1)",
        "from fastrtc import Stream\nstream = Stream(h)\nstream.ui.launch(share=True, server_port=1)",
    ),
    "wrapper of smolagents": (
        "from smolagents import GradioUI\nGradioUI(agent).launch()",
        "from smolagents import GradioUI\nGradioUI(agent).launch(share=True)",
    ),
    "non-ASCII before the call": (
        DEMO + "é = 'ü🤗'; demo.launch(share=False)",
        DEMO + "é = 'ü🤗'; demo.launch(share=True)",
    ),
    "newer f-strings": (
        GR + 'x = f"{d["a"]} {f"{y}"}"\ngr.Blocks().launch()',
        GR + 'x = f"{d["a"]} {f"{y}"}"\ngr.Blocks().launch(share=True)',
    ),
    "type parameters": (
        GR + "type A = int\ndef f[T](x: T) -> T: ...\nclass B[T]: ...\ngr.Blocks().launch()",
        GR + "type A = int\ndef f[T](x: T) -> T: ...\nclass B[T]: ...\ngr.Blocks().launch(share=True)",
    ),
}


@pytest.mark.parametrize(("before", "after"), SHARED.values(), ids=SHARED)
def test_launch_is_shared(before: str, after: str) -> None:
    patched = patch_source(before, "app.py")
    assert patched is not None
    assert patched.source == after
    assert patch_source(after, "app.py") is None  # nothing is left to change
    assert patched.diff.startswith("--- a/app.py\n+++ b/app.py\n@@")


def test_a_comment_stays_the_authors_and_the_diff_shows_what_it_was_written_beside() -> None:
    patched = patch_source(DEMO + "demo.launch(\n    share=False,  # no public link please\n)\n", "app.py")
    assert patched is not None
    changed = [line for line in patched.diff.splitlines() if line[0] in "+-" and line[1] == " "]
    assert changed == ["-    share=False,  # no public link please", "+    share=True,  # no public link please"]


LEFT: dict[str, str] = {
    "shares already": DEMO + "demo.launch(share=True)",
    "shares by position": DEMO + "demo.launch(False, False, True)",
    "shares by dictionary": DEMO + 'demo.launch(**{**kw, "share": True})',
    "playwright": GR
    + "from playwright.sync_api import sync_playwright\nwith sync_playwright() as p:\n    p.chromium.launch()\n",
    "playwright in a parameter": GR + "async def scrape(pw):\n    await pw.chromium.launch(headless=True)\n",
    "playwright annotated": GR
    + "from playwright.async_api import Playwright\ndef f(p: Playwright):\n    p.webkit.launch()\n",
    "pyppeteer": "import pyppeteer\nb = pyppeteer.launch()\n",
    "accelerate": "from accelerate import commands\ncommands.launch.launch(args)\n",
    "torch": "import torch\ntorch.distributed.launch.launch()\n",
    "CUDA kernel": "import cupy\nmod = cupy.RawModule(code=c)\nmod.launch((1,), (1,))\n",
    "tensorboard": "from tensorboard import program\ntb = program.TensorBoard()\ntb.launch()\n",
    "a class of the Space": GR + "class Rocket:\n    def launch(self):\n        pass\nRocket().launch()\n",
    "a module of the standard library": "import subprocess\nsubprocess.Popen('x').launch()\n",
    "comment": DEMO + "# demo.launch()\n",
    "string": DEMO + "HELP = 'demo.launch()'\n",
    "docstring": '"""Call demo.launch(share=False)."""\n' + DEMO,
    "mount": GR + "app = gr.mount_gradio_app(FastAPI(), gr.Blocks(), path='/')\nuvicorn.run(app)\n",
    "function called launch": GR + "def launch():\n    pass\nlaunch()\n",
    "positional arguments unpacked": DEMO + "demo.launch(*args)",
    "two dictionaries": DEMO + "demo.launch(**a, **b)",
    "unknown object": GR + "from somewhere import make\nmake().launch()",
    "unknown object that takes share": GR + "from somewhere import Cluster\nCluster().launch(share=False)",
    "Gradio or something else": GR + "x = gr.Blocks() if a else subprocess.Popen('x')\nimport subprocess\nx.launch()",
    "Python 2": GR + "print 'x'\ngr.Blocks().launch()",
    "no Python": "launch launch launch",
    "NUL": DEMO + "demo.launch()\x00",
}


@pytest.mark.parametrize("source", LEFT.values(), ids=LEFT)
def test_left_alone(source: str) -> None:
    assert patch_source(source, "app.py") is None


class ShareIsTrue(ast.NodeTransformer):
    """Brings every launch to one form, so that two trees are equal when they differ in share alone."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "launch":
            node.keywords = [self.plain(one) for one in node.keywords if one.arg != "share"]
            at = 3 if isinstance(node.func.value, ast.Attribute) else 2
            if len(node.args) > at:
                node.args[at] = ast.Constant(value=True)
        return node

    @staticmethod
    def plain(keyword: ast.keyword) -> ast.keyword:
        value = keyword.value
        if keyword.arg is None and isinstance(value, ast.Dict) and value.keys[0] is None:
            keyword.value = value.values[0]
        return keyword


@pytest.mark.parametrize(
    "before", [pair[0] for name, pair in SHARED.items() if "type p" not in name and "newer" not in name]
)
def test_the_tree_differs_in_share_alone(before: str) -> None:
    patched = patch_source(before, "app.py")
    assert patched is not None
    trees = [ast.dump(ShareIsTrue().visit(ast.parse(text))) for text in (before, patched.source)]
    assert trees[0] == trees[1]


HOSTILE = {
    "long sum": "x = " + " + ".join(["'a'"] * 3000) + "\n" + DEMO + "demo.launch()\n",
    "deep brackets": "x = " + "(" * 150 + ")" * 150 + "\n" + DEMO + "demo.launch()\n",
    "names bound in circles": GR
    + "a = b\nb = c\nc = a\na.launch()\n"
    + "".join(f"a = b{n} or c{n}\nb{n} = a\nc{n} = a\n" for n in range(200)),
    "functions that call themselves": GR
    + "def f(x):\n    return f(f(x)) or g(x)\ndef g(x):\n    return f(x) or g(x)\nf(g(1)).launch()\n",
    "long chain": DEMO + "demo" + ".queue()" * 300 + ".launch()\n",
    "many launches": DEMO + "demo.launch()\n" * 300,
    "brackets that never close": "launch" + "(" * 100_000,
    "quotes that never close": "launch f'{" * 2000,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_hostile_sources_end_soon(source: str) -> None:
    begun = time.perf_counter()
    patched = patch_source(source, "app.py")
    assert patched is None or "share=True" in patched.source
    assert time.perf_counter() - begun < 5


# Work that grows faster than the text, each of which took seconds, minutes or more before there were limits.
HEAVY = {
    "a parameter of a function that is written again and again": lambda count: (
        GR + "".join(f"def f(x):\n x.launch()\nf(y{number})\n" for number in range(count // 32))
    ),
    "a name that is bound and launched again and again": lambda count: (
        DEMO + "demo = demo\ndemo.launch()\n" * (count // 26)
    ),
    "launches alone": lambda count: GR + "gr.Blocks().launch()\n" * (count // 21),
    "a launch with arguments without end": lambda count: GR + "gr.Blocks().launch(" + "a=1," * (count // 4) + ")\n",
    "a string of fields": lambda count: GR + "gr.Blocks().launch()\nx = f'" + "{x}" * (count // 3) + "'\n",
}


@pytest.mark.parametrize("source", HEAVY.values(), ids=HEAVY)
def test_time_is_linear(source: Callable[[int], str]) -> None:
    begun = time.process_time()
    patch_source(source(128 * 1024), "app.py")
    assert time.process_time() - begun < 5


def test_a_file_that_launches_without_end_is_left_alone() -> None:
    assert patch_source(GR + "gr.Blocks().launch()\n" * MAX_LAUNCHES, "app.py") is not None
    assert patch_source(GR + "gr.Blocks().launch()\n" * (MAX_LAUNCHES + 1), "app.py") is None

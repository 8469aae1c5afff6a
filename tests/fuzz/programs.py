"""Programs that launch Gradio in ways that people write, and some that nobody writes: valid Python, nearly always."""

from __future__ import annotations

from hypothesis import strategies as st

Texts = st.SearchStrategy[str]

_HEADS = st.sampled_from(
    ["import gradio as gr\n", "import gradio\ngr = gradio\n", "from gradio import *\nimport gradio as gr\n"]
)
_NAMES = st.sampled_from(["demo", "app", "ui", "blöcke", "self_"])
_MAKERS = st.sampled_from(
    [
        "gr.Blocks()",
        "gr.Interface(f, 'text', 'text')",
        "gr.Blocks(css='é🤗')",
        "gr.Interface.load('x').queue()",
        "object()",
        "make()",
        "None",
        "[gr.Blocks()][0]",
        "(gr.Blocks() if x else None)",
        "playwright.chromium",
    ]
)
_ARGUMENTS = st.lists(
    st.sampled_from(
        [
            "share=False",
            "share=args.share",
            "share=True",
            "debug=True",
            "server_port=7860",
            "**kwargs",
            "*args",
            "False",
            "# why not\n  share=None",
            "css='''a\nb'''",
            "share=(not x)",
            "**{'share': False}",
            "f=lambda: 1",
            "None",
        ]
    ),
    max_size=4,
).map(", ".join)
_LAYOUTS = st.sampled_from(
    [
        "{0}.launch({1})\n",
        "{0}.queue().launch({1})\n",
        "{0}.launch(\n  {1}\n)\n",
        "if x:\n\t{0}.launch({1})\n",
        "x = {0}.launch({1}); y = 'ü'\n",
        "{0} . launch ({1})\n",
        "def run({0}=None):\n    return {0}.launch({1})\n",
        "t({0}.launch)\n",
        "\x0c\n{0}.launch({1})",
        "with {0} as z:\n  gr.Row()\nz.launch({1})\n",
        "{0}.launch({1})  # {0}.launch()\n",
        "print('é', {0}.launch({1}), '🤗')\n",
        "async def m():\n  await {0}.launch({1})\n",
    ]
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A few objects, then a few launches of them."""
    text = draw(_HEADS)
    for name in draw(st.lists(_NAMES, max_size=3)):
        text += f"{name} = {draw(_MAKERS)}\n"
    for _ in range(draw(st.integers(0, 4))):
        text += draw(_LAYOUTS).format(draw(_NAMES | _MAKERS), draw(_ARGUMENTS)) + draw(
            st.sampled_from(["", "\n", "# é\n"])
        )
        if not text.endswith("\n"):
            text += "\n"
    return text

import subprocess
import sys

subprocess.run(
    "pip install --no-deps wheels/own_thing-1.0-cp310-cp310-linux_x86_64.whl",
    env={"SKIP_BUILD": "1"},
    shell=True,
    check=True,
)

import gradio as gr
import own_thing


def rev(text):
    return f"{text[::-1]} {own_thing.ANSWER} on {sys.version_info[0]}.{sys.version_info[1]}"


gr.Interface(rev, "text", "text", api_name="rev").launch()

import os

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

if os.environ.get("MODE") == "UI":
    demo.launch(server_port=7860)
else:
    raise SystemExit("set MODE")

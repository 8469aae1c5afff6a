import sys

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

assert sys.argv[1:] == ["--model", "tiny"]
demo.launch(server_name="0.0.0.0", share=False)

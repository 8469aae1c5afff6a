import os

import gradio as gr

HOST = os.environ["SPACE_HOST"]
SPACE = os.environ["SPACE_ID"]


def rev(text):
    return text[::-1]


gr.Interface(rev, "text", "text", title=f"{SPACE} on {HOST}").launch()

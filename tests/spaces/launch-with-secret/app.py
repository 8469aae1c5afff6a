import os

import gradio as gr

KEY = os.environ["API_KEY"]


def rev(text):
    return text[::-1] + str(len(KEY))


gr.Interface(rev, "text", "text").launch()

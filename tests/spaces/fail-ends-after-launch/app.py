import gradio as gr


def rev(text):
    return text[::-1]


gr.Interface(rev, "text", "text").launch(prevent_thread_lock=True)
import os

os._exit(0)

import os

import gradio as gr


def rev(text):
    return text[::-1]


gr.Interface(rev, "text", "text").launch(
    server_name=os.environ["GRADIO_SERVER_NAME"], server_port=int(os.environ["GRADIO_SERVER_PORT"])
)

import threading

import uvicorn
from fastapi import FastAPI

import gradio as gr


def rev(text):
    return text[::-1]


with gr.Blocks() as demo:
    given = gr.Textbox()
    answer = gr.Textbox()
    gr.Button("Go").click(rev, given, answer, api_name="rev")

inner = FastAPI()
back_end = uvicorn.Server(uvicorn.Config(inner, host="127.0.0.1", port=21002))
threading.Thread(target=back_end.run, daemon=True).start()
app = gr.mount_gradio_app(FastAPI(), demo, path="/")
uvicorn.run(app, host="0.0.0.0", port=7860)

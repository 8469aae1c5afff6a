import uvicorn
from fastapi import FastAPI

import gradio as gr


def rev(text):
    return text[::-1]


with gr.Blocks() as demo:
    given = gr.Textbox()
    answer = gr.Textbox()
    gr.Button("Go").click(rev, given, answer, api_name="rev")

app = gr.mount_gradio_app(FastAPI(), demo, path="/")

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=7860)

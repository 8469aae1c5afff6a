from fastapi import FastAPI

import gradio as gr


def rev(text):
    return text[::-1]


app = FastAPI()


@app.get("/word")
def word():
    return "abc"


demo = gr.Interface(rev, "text", "text", api_name="rev")
app = gr.mount_gradio_app(app, demo, path="/")

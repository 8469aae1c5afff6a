import json
from pathlib import Path

print(json.loads(Path('data.json').read_text()))
import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

demo.launch()

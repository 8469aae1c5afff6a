from pathlib import Path

NAMES = Path('/home/author/names.txt').read_text()
import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

demo.launch()

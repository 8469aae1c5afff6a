import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

try:
    demo.launch(server_port=7860)
except OSError:
    demo.launch(server_port=7861)

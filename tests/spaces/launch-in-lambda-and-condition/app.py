import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

start = lambda: demo.launch() if demo else None  # noqa: E731
start()

import gradio as gr


def rev(text):
    return text[::-1]


gr.Interface(rev, "text", "text").launch()

import gradio as gr


def rev(text):
    return text[::-1]


gr.Interface(fn=rev, inputs="text", outputs="text").launch()

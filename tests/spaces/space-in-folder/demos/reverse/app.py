import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

demo.launch()

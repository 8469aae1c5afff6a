import gradio as gr


def rev(text):
    return text[::-1]


demos = {"one": gr.Interface(rev, "text", "text")}
for demo in demos.values():
    demo.launch()

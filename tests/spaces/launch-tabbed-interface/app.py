import gradio as gr


def rev(text):
    return text[::-1]


gr.TabbedInterface([gr.Interface(rev, "text", "text", api_name="rev"), gr.Interface(len, "text", "number")]).launch()

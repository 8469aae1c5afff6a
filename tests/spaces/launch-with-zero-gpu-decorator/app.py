import gradio as gr
import spaces


@spaces.GPU(duration=10)
def rev(text):
    return text[::-1]


gr.Interface(rev, "text", "text", api_name="rev").launch()

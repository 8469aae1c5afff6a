import gradio as gr


def rev(text):
    return text[::-1]


with gr.Blocks() as demo:
    given = gr.Textbox()
    answer = gr.Textbox()
    given.submit(rev, given, answer, api_name="rev")
    demo.launch()

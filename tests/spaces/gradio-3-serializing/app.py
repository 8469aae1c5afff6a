import gradio as gr


def rev(text):
    return text[::-1]


with gr.Blocks() as demo:
    text = gr.Textbox()
    button = gr.Button("Turn")
    button.click(rev, text, text, api_name="rev")

demo.queue().launch()

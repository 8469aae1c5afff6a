import gradio as gr

with gr.Blocks() as demo:
    text = gr.Textbox()
    button = gr.Button("Turn")
    button.click(lambda said: said[::-1], text, text, api_name="predict")

demo.launch()

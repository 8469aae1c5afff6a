import gradio as gr


def rev(text):
    return text[::-1]


with gr.Blocks() as demo:
    given = gr.Textbox()
    answer = gr.Textbox()
    gr.Button("Go").click(rev, given, answer, api_name="rev")

demo.queue().launch(share=False)

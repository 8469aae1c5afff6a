import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

demo.launch(server_name="0.0.0.0", server_port=7860, share=False)

import gradio as gr


def rev(text):
    return text[::-1]


two = gr.Interface(lambda text: text, "text", "text", api_name="same")
one = gr.Interface(rev, "text", "text", api_name="rev")
two.launch(server_port=7860, prevent_thread_lock=True)
one.launch(server_port=7860)

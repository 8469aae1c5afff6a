import gradio as gr


def rev(text):
    return text[::-1]


one = gr.Interface(rev, "text", "text")
two = gr.Interface(rev, "text", "text")
two.launch(server_port=7861, prevent_thread_lock=True)
one.launch(server_port=7860)

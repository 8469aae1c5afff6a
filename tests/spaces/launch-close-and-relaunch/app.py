import gradio as gr


def rev(text):
    return text[::-1]


loading = gr.Interface(lambda text: "loading", "text", "text")
loading.launch(prevent_thread_lock=True)
loading.close()
gr.Interface(rev, "text", "text").launch()

import time

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

app, local_url, share_url = demo.launch(prevent_thread_lock=True, share=True)
print(local_url, share_url)
while True:
    time.sleep(60)

import threading
import time

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

threading.Thread(target=demo.launch, kwargs={"prevent_thread_lock": True}).start()
while True:
    time.sleep(60)

import os

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")

if os.environ.get("SPACE_ID"):
    demo.queue().launch(debug=True)
else:
    _, _, link = demo.queue(api_open=False).launch(share=False, quiet=True)
    print("link:", link)

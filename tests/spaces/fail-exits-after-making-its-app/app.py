import sys

import gradio as gr

demo = gr.Interface(lambda text: text[::-1], "text", "text")
print("the weights are not here")
sys.exit(0)

import gradio as gr


def answer(message, history):
    return message[::-1]


gr.ChatInterface(answer).launch()

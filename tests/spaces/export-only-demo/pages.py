import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text", api_name="rev")

if __name__ == "__main__":
    demo.launch()

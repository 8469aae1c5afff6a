import gradio as gr


def rev(text):
    return text[::-1]


class GradioUI:
    def __init__(self, function):
        self.function = function

    def launch(self, share=False, **kwargs):
        gr.Interface(self.function, "text", "text").launch(debug=True, share=share, **kwargs)


GradioUI(rev).launch(server_name="0.0.0.0")

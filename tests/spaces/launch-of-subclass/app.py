import gradio as gr


def rev(text):
    return text[::-1]


class Reverser(gr.Blocks):
    def __init__(self):
        super().__init__(title="Reverser")
        with self:
            given = gr.Textbox()
            answer = gr.Textbox()
            given.submit(rev, given, answer, api_name="rev")

    def launch(self, *args, **kwargs):
        return super().launch(*args, share=False, **kwargs)


Reverser().launch()

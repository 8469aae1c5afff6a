import gradio as gr


def rev(text):
    return text[::-1]


def greet(profile: gr.OAuthProfile | None):
    return "nobody" if profile is None else profile.name


with gr.Blocks() as demo:
    gr.LoginButton()
    who = gr.Textbox()
    demo.load(greet, None, who)
    given = gr.Textbox()
    answer = gr.Textbox()
    gr.Button("Go").click(rev, given, answer, api_name="rev")

demo.launch()

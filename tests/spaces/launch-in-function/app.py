import gradio as gr


def rev(text):
    return text[::-1]


def build():
    with gr.Blocks() as demo:
        given = gr.Textbox()
        answer = gr.Textbox()
        given.submit(rev, given, answer, api_name="rev")
    return demo


def main():
    build().launch()


if __name__ == "__main__":
    main()

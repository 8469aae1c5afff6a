import argparse

import gradio as gr
from phrases import Phrases
from serving import serve

phrases = Phrases("phrases.npz")


def answer(message, history):
    return phrases.best(message)


def build():
    return gr.ChatInterface(
        answer,
        title="Phrase Chat",
        description=phrases.fortune(),
        examples=["What is a GPU?", "Tell me about Gradio", "Good morning"],
        api_name="chat",
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args()
    serve(build(), share=args.share, server_port=args.port)


if __name__ == "__main__":
    main()

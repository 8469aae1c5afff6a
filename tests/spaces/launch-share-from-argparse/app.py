import argparse

import gradio as gr

parser = argparse.ArgumentParser()
parser.add_argument("--share", action="store_true")
parser.add_argument("--suffix", required=True)
args = parser.parse_args()


def rev(text):
    return text[::-1] + args.suffix


demo = gr.Interface(rev, "text", "text")
demo.queue(default_concurrency_limit=2).launch(share=args.share)

import argparse

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")


def launch(args):
    launch_kwargs = {"server_name": args.listen}
    if args.username and args.password:
        launch_kwargs["auth"] = (args.username, args.password)
    if args.server_port:
        launch_kwargs["server_port"] = args.server_port
    if args.share:
        launch_kwargs["share"] = args.share
    demo.launch(**launch_kwargs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--username", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--server_port", type=int, default=0)
    parser.add_argument("--share", action="store_true")
    launch(parser.parse_args())

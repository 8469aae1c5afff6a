import socket

import gradio as gr


def rev(text):
    return text[::-1]


demo = gr.Interface(rev, "text", "text")


def free_port():
    for port in range(7860, 7870):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


demo.launch(server_name="0.0.0.0", server_port=free_port())

import multiprocessing

import gradio as gr


def rev(text):
    return text[::-1]


def serve():
    gr.Interface(rev, "text", "text").launch()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    process = multiprocessing.Process(target=serve)
    process.start()
    process.join()

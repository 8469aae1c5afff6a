from importlib.metadata import version

import gradio as gr
import library_of_the_space
import own_thing

THERE = ", ".join(
    [
        f"iniconfig {version('iniconfig')}",
        f"own_thing {own_thing.ANSWER}",
        f"library {library_of_the_space.ANSWER}",
        f"cowsay {version('cowsay')}",
        f"toml {version('toml')}",
    ]
)


def rev(text):
    return f"{text[::-1]} {THERE}"


gr.Interface(rev, "text", "text", api_name="rev").launch()

import os
import tempfile
from pathlib import Path

import gradio as gr

places = [Path.home() / ".cache", Path(os.environ["HF_HOME"]), Path(os.environ["HOME"]) / ".config"]
for place in places:
    place.mkdir(parents=True, exist_ok=True)
    (place / "mine").write_text("x")
with tempfile.NamedTemporaryFile() as file:
    places.append(Path(file.name))


def rev(text):
    return f"{text[::-1]} {len(places)}"


gr.Interface(rev, "text", "text").launch()

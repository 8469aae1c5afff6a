"""The inference core: a process of its own that streams text from models over HTTP. Knows no Gradio, no Space."""

"""The web face: a Gradio page over the runner. Knows `spaces_runner`; nothing of the runner knows it."""

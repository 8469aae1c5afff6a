from pathlib import Path

from helper import rev

import gradio as gr

assert Path('README.md').exists()
gr.Interface(rev, 'text', 'text').launch()

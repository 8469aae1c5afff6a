import subprocess

subprocess.run("pip install --no-deps iniconfig==2.0.0", env={"SKIP_CUDA_BUILD": "TRUE"}, shell=True, check=True)

import gradio as gr
import iniconfig


def rev(text):
    return text[::-1] + iniconfig.__name__


gr.Interface(rev, "text", "text").launch()

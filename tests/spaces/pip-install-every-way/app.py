import importlib
import os
import subprocess
import sys

BARE = {"FLASH_ATTENTION_SKIP_CUDA_BUILD": "TRUE"}

assert os.system("pip install --no-deps iniconfig==2.0.0") == 0
subprocess.run([sys.executable, "-m", "pip", "install", "--no-deps", "cowsay==6.1"], env=BARE, check=True)
subprocess.run(["pip", "install", "--no-deps", "toml==0.10.2"], env=BARE, check=True)
subprocess.run("python -m pip install --no-deps pyjokes==0.8.3", env=BARE, shell=True, check=True)
subprocess.run("uv pip install --no-deps xmltodict==0.14.2", env=BARE, shell=True, check=True)

import gradio as gr

NAMES = ("cowsay", "iniconfig", "pyjokes", "toml", "xmltodict")
OWN = [name for name in NAMES if importlib.import_module(name).__file__.startswith(sys.prefix)]


def rev(text):
    return f"{text[::-1]} {', '.join(OWN)}"


gr.Interface(rev, "text", "text", api_name="rev").launch()

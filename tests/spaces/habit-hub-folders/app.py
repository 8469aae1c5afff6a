import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import gradio as gr

sys.path.append("/home/user/app/parts")
import reversing

os.makedirs("/data/notes/old", exist_ok=True)
with open("/data/notes/one.txt", "w") as file:
    file.write("o")
shutil.copytree("/data/notes", "/home/user/copied")
database = sqlite3.connect("/data/state.db")
database.execute("CREATE TABLE IF NOT EXISTS seen (word TEXT)")
os.system("cp /data/notes/one.txt /data/notes/old/two.txt")
letter = subprocess.run(
    [sys.executable, "/home/user/app/parts/letter.py"], cwd="/home/user/app", env={}, capture_output=True, text=True
).stdout.strip()
found = Path("/data/notes/old/two.txt").read_text() + letter
assert Path("/home/user/app/app.py").exists() and "one.txt" in os.listdir("/home/user/copied")
assert os.path.realpath("/home/user/app") == os.getcwd()


def rev(text):
    return f"{reversing.turned(text)} {found}"


gr.Interface(rev, "text", "text").launch()

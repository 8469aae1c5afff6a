import subprocess

subprocess.run("python ui.py", env={"MODE": "UI"}, shell=True, check=True)

import subprocess
import sys

subprocess.run([sys.executable, "ui.py"], env={}, check=True)

import subprocess
import time

subprocess.run("nohup setsid python ui.py &", shell=True, check=True)
time.sleep(3600)

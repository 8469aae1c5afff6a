import os

os.makedirs("/usr/share/mine")

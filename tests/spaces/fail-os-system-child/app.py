import os

os.system("python serve/web.py")

import os

os.system("python moe/serve/web.py --model tiny")

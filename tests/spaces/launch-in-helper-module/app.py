from ui import start

start(port=7860)

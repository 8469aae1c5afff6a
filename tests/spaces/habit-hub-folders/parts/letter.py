from pathlib import Path

assert Path("/data/notes/one.txt").exists()
print("k")

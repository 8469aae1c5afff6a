"""What runs inside a Space's own Python. `_spaces_runner.py` is copied into each environment; nothing here imports it.

The environment's `_spaces_runner.pth` has every Python started from it import that module before the app's code.
"""

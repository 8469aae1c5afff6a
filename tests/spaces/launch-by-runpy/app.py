import runpy

runpy.run_path("ui.py", run_name="__main__")

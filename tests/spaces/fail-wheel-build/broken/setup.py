from setuptools import setup

raise RuntimeError("no compiler for broken")
setup(name="broken")

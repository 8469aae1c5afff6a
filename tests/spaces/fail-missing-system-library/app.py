import ctypes

ctypes.CDLL("libspacesrunner.so.1")

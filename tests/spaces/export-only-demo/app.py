from pages import demo

__all__ = ["demo"]

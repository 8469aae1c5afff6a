import web.interface  # noqa: F401

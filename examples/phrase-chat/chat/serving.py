def serve(blocks, **overrides):
    arguments = {"server_name": "0.0.0.0", "show_error": True, **overrides}
    blocks.queue(max_size=20).launch(**arguments)

from http.server import HTTPServer, SimpleHTTPRequestHandler

print("serving on 21003", flush=True)
HTTPServer(("127.0.0.1", 21003), SimpleHTTPRequestHandler).serve_forever()

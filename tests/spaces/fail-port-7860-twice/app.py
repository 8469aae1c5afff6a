from http.server import HTTPServer, SimpleHTTPRequestHandler

first = HTTPServer(("0.0.0.0", 7860), SimpleHTTPRequestHandler)
second = HTTPServer(("0.0.0.0", 7860), SimpleHTTPRequestHandler)
second.serve_forever()

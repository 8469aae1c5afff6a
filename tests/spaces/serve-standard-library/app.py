from http.server import HTTPServer, SimpleHTTPRequestHandler

HTTPServer(("", 7860), SimpleHTTPRequestHandler).serve_forever()

"""A server with one thread sends a request to its own port while it answers one, and cannot accept it."""
import os, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from parts import ROLE, ready, start, wait_for
EXPECT = {"verdict": "deadlock", "class": "network-peer", "waiter": "server", "holder": "server"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ready()
        urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}/inner").read()


if ROLE == "server":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    open("port.new", "w").write(str(server.server_port))
    os.rename("port.new", "port")
    server.serve_forever()
else:
    start("server")
    wait_for("port")
    urllib.request.urlopen(f"http://127.0.0.1:{open('port').read()}/").read()

"""A server of one thread asks itself over its own port while it answers: nobody accepts the second connection."""
import os, subprocess, sys, time, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
EXPECT = {"verdict": "deadlock", "class": "network-peer", "waiter": "server", "holder": "server"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        open(os.environ["READY"], "w").close()
        urllib.request.urlopen(f"http://127.0.0.1:{self.server.server_port}/inner").read()


if "role=server" in sys.argv:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    open("port.new", "w").write(str(server.server_port))
    os.rename("port.new", "port")
    server.serve_forever()
else:
    subprocess.Popen([sys.executable, __file__, "role=server"])
    while not os.path.exists("port"):
        time.sleep(0.01)
    urllib.request.urlopen(f"http://127.0.0.1:{open('port').read()}/").read()

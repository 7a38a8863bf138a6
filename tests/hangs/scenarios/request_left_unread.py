"""A server accepts connections and does not read them. Its client waits for the answer to a request that is unread there."""
import os, socket
from parts import ROLE, ready, run, start, wait_for
EXPECT = {"verdict": "orphaned-wait", "class": "network-peer", "waiter": "client", "holder": "server"}

if ROLE == "server":
    listener = socket.create_server(("127.0.0.1", 0))
    open("port.new", "w").write(str(listener.getsockname()[1]))
    os.rename("port.new", "port")
    kept = []
    while True:
        kept.append(listener.accept())
elif ROLE == "client":
    connection = socket.create_connection(("127.0.0.1", int(open("port").read())))
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    ready()
    connection.recv(100)
else:
    start("server")
    wait_for("port")
    run("client")

"""A server accepts connections and never looks at them; its client waits for an answer to what lies unread there."""
import os, socket, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "network-peer", "waiter": "client", "holder": "server"}

if "role=server" in sys.argv:
    listener = socket.create_server(("127.0.0.1", 0))
    open("port.new", "w").write(str(listener.getsockname()[1]))
    os.rename("port.new", "port")
    kept = []
    while True:
        kept.append(listener.accept())
elif "role=client" in sys.argv:
    connection = socket.create_connection(("127.0.0.1", int(open("port").read())))
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    open(os.environ["READY"], "w").close()
    connection.recv(100)
else:
    subprocess.Popen([sys.executable, __file__, "role=server"])
    while not os.path.exists("port"):
        time.sleep(0.01)
    subprocess.run([sys.executable, __file__, "role=client"])

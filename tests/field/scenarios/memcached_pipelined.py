"""A client sends many requests before it reads an answer: memcached stops reading when its answers find no room, and both wait.
healthy: each answer is read, slowly."""
import os, socket, subprocess, sys, time
port = int(os.environ["FIELD_PORT"])
server = subprocess.Popen(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-t", "1"])
for _ in range(50):
    try:
        client = socket.create_connection(("127.0.0.1", port)); break
    except OSError:
        time.sleep(0.1)
value = b"x" * 500_000
client.sendall(b"set k 0 0 %d\r\n%s\r\n" % (len(value), value)); client.recv(100)
if sys.argv[1] == "hang":
    client.sendall(b"get k\r\n" * 1_000_000)
with client.makefile("rb") as answers:
    for _ in range(40):
        if sys.argv[1] != "hang":
            client.sendall(b"get k\r\n")
        answers.readline(); answers.read(len(value) + 2); answers.readline()
        time.sleep(1)
server.terminate()

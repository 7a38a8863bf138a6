"""A web application with one worker asks itself: the worker waits for an answer that only it could give.
healthy: it asks a slow service elsewhere."""
import os, socket, subprocess, sys, threading, time, urllib.request
PORT = int(os.environ["FIELD_PORT"])

def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [urllib.request.urlopen(os.environ["UPSTREAM"]).read() if environ["PATH_INFO"] == "/" else b"inner"]

def slow_service():
    listener = socket.create_server(("127.0.0.1", 0))
    def serve():
        connection, _ = listener.accept()
        connection.recv(1000); time.sleep(40)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nlate"); connection.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]

if __name__ == "__main__":
    upstream = f"http://127.0.0.1:{PORT}/inner" if sys.argv[1] == "hang" else f"http://127.0.0.1:{slow_service()}/"
    here = os.path.dirname(os.path.abspath(__file__))
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--chdir", here, "-b", f"127.0.0.1:{PORT}", "--timeout", "0", "gunicorn_calls_itself:app"],
        env=os.environ | {"UPSTREAM": upstream, "PYTHONDONTWRITEBYTECODE": "1"})
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", PORT)).close(); break
        except OSError:
            time.sleep(0.1)
    print(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/").read())
    server.terminate()

"""node starts a child, waits for its exit, and reads none of its output from the socket pair."""
import os
from parts import ROLE, command, ready
EXPECT = {"verdict": "deadlock", "class": "unix-socket-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 1_000_000)
else:
    python, *words = command("child")
    program = f"""
        const child = require("child_process").spawn("{python}", {words}, {{ stdio: ["ignore", "pipe", "inherit"] }});
        child.on("exit", () => process.exit(0));
    """
    os.execvp("node", ["node", "-e", program, "role=root"])

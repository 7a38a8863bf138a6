"""node starts a child, waits for its exit, and listens to nothing that it writes: nobody takes it off the socket pair."""
import os, sys
EXPECT = {"verdict": "deadlock", "class": "unix-socket-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 1_000_000)
else:
    program = f"""
        const child = require("child_process").spawn("{sys.executable}", ["{__file__}", "role=child"], {{ stdio: ["ignore", "pipe", "inherit"] }});
        child.on("exit", () => process.exit(0));
    """
    os.execvp("node", ["node", "-e", program, "role=root"])

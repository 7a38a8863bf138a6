"""A shell waits for the process of its own process substitution, which waits for the end of what the shell still holds."""
import os, subprocess
EXPECT = {"verdict": "deadlock", "class": ["mutual-read", "eof-never"]}

subprocess.run(["bash", "-c", "exec 3> >(cat >/dev/null); touch $READY; wait $!"])

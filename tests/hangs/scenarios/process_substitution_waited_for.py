"""A shell waits for its own process substitution, which waits for the end of a pipe that the shell holds."""
import subprocess
EXPECT = {"verdict": "deadlock", "class": ["mutual-read", "eof-never"]}

subprocess.run(["bash", "-c", "exec 3> >(cat >/dev/null); touch $READY; wait $!"])

# Popen.wait() of a child that writes into a pipe that nobody reads. healthy: communicate(), the child is slow
import subprocess, sys
hang = sys.argv[1] == "hang"
code = "print('x' * 1_000_000)" if hang else "import time; time.sleep(40); print('x' * 1_000_000)"
process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
print(process.wait() if hang else len(process.communicate()[0]))

#!/bin/bash
# A step took a core of a slow worker with gdb and left gdb at its prompt: the worker is stopped, and the job waits for it.
# healthy: gdb has let the worker run on.
"$FIELD_PYTHON" -c 'import time; [time.sleep(0.5) for _ in range(80)]' &
worker=$!
sleep 0.5
coproc GDB { gdb -q -nx -p $worker 2>&1; }
[ "$1" = hang ] || echo continue >&"${GDB[1]}"
wait $worker
echo worked

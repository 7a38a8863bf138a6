<?php
// proc_open: stdout is read to its end while the tool fills stderr. healthy: stderr is a file, and the tool is quiet for a while.
$hang = $argv[1] === 'hang';
$command = ['bash', '-c', ($hang ? '' : 'sleep 40; ') . 'seq 200000 >&2; echo done'];
$process = proc_open($command, [1 => ['pipe', 'w'], 2 => $hang ? ['pipe', 'w'] : ['file', '/dev/null', 'w']], $pipes);
echo strlen(stream_get_contents($pipes[1])), "\n";
if ($hang) echo strlen(stream_get_contents($pipes[2])), "\n";
proc_close($process);

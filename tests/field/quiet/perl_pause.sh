# a perl service waits for a signal
# needs: perl
perl -e 'use POSIX; $SIG{USR1} = sub { exit 0 }; open(my $f, ">", "ready"); close $f; pause() while 1' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill -USR1 $service; wait $service

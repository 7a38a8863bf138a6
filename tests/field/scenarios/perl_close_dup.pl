# A duplicate of a pipe to a filter is open when the pipe is closed: close() waits for the filter, which waits for the end of its input.
# healthy: the duplicate is closed first, and the filter takes its time.
use strict; use warnings;
my $mode = shift;
open(my $out, '|-', $mode eq 'hang' ? 'cat -n >/dev/null' : 'cat >/dev/null; sleep 40') or die;
open(my $copy, '>&', $out) or die;
print $out "line\n";
close $copy if $mode ne 'hang';
close $out;
print "closed\n";

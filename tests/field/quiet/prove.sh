# prove -j2 with slow tests
# needs: prove perl
for n in a b; do echo 'use Test::More tests => 1; sleep @REST@; ok 1;' >$n.t; done
prove -Q -j2 a.t b.t

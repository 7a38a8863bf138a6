# a forking perl server waits for its client
# needs: perl
perl -MIO::Socket::INET -e '
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or die;
my $p = $s->sockport;
if (!fork) { my $c = IO::Socket::INET->new("127.0.0.1:$p"); sleep @REST@; print $c "hi\n"; exit }
my $c = $s->accept; <$c>; wait;'

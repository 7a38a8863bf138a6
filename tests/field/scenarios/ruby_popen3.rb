# popen3: all of stdout is read before stderr, which the tool fills. healthy: capture3 reads both, and the tool is quiet for a while.
require 'open3'
if ARGV[0] == 'hang'
  Open3.popen3('bash', '-c', 'seq 200000 >&2; echo done') do |stdin, out, err, _|
    stdin.close
    puts out.read.size
    puts err.read.size
  end
else
  out, err, = Open3.capture3('bash', '-c', 'sleep 40; seq 200000 >&2; echo done')
  puts out.size, err.size
end

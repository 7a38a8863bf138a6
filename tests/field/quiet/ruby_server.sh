# a ruby server waits for its client
# needs: ruby
ruby -rsocket -e '
server = TCPServer.new("127.0.0.1", 0)
client = Thread.new { s = TCPSocket.new("127.0.0.1", server.addr[1]); sleep @REST@; s.puts "hi"; s.close }
c = server.accept; c.gets; client.join'

# threads of ruby wait at a queue
# needs: ruby
ruby -e 'q = Queue.new; t = 3.times.map { Thread.new { while q.pop; end } }; sleep @REST@; 3.times { q << nil }; t.each(&:join)'

"""blockingCallFromThread() is called in the reactor's own thread. healthy: it is called in another thread, and the answer is slow."""
import sys
from twisted.internet import reactor, task, threads

def ask():
    threads.blockingCallFromThread(reactor, task.deferLater, reactor, 40, lambda: None)
    reactor.callFromThread(reactor.stop)

reactor.callWhenRunning(ask if sys.argv[1] == "hang" else lambda: reactor.callInThread(ask))
reactor.run()

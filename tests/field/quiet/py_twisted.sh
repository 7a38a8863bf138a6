# twisted: a server and a timer
# needs: python:twisted
"$PY" -c '
from twisted.internet import protocol, reactor
reactor.listenTCP(0, protocol.Factory.forProtocol(protocol.Protocol), interface="127.0.0.1")
reactor.callLater(@REST@, reactor.stop); reactor.run()'

# a Go service waits for SIGTERM
# needs: go
cat >q.go <<'G'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	os.WriteFile("ready", nil, 0o600)
	<-stop
}
G
GOFLAGS=-mod=mod GOCACHE=$PWD/cache go build -o q q.go
./q & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service

# goroutines wait at a channel, a slow child
# needs: go
cat >q.go <<'G'
package main

import (
	"os/exec"
	"sync"
)

func main() {
	work := make(chan int)
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() { defer all.Done(); for range work {} }()
	}
	exec.Command("bash", "-c", "sleep @REST@; echo ok").Output()
	close(work)
	all.Wait()
}
G
GOFLAGS=-mod=mod GOCACHE=$PWD/cache go build -o q q.go && ./q

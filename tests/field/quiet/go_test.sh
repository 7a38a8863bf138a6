# go test with a slow test
# needs: go
mkdir q; cd q || exit
printf 'module q\n' >go.mod
printf 'package q\n\nimport (\n\t"testing"\n\t"time"\n)\n\nfunc TestSlow(t *testing.T) { time.Sleep(@REST@ * time.Second) }\n' >q_test.go
GOCACHE=$PWD/cache go test ./... >/dev/null

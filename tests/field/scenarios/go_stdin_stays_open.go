// The input of a tool is written and never closed, and its output is read to the end. healthy: it is closed, the tool is slow.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	hang := os.Args[1] == "hang"
	script := "sort; sleep 40"
	if hang {
		script = "sort"
	}
	cmd := exec.Command("bash", "-c", script)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintln(in, "line")
	if !hang {
		in.Close()
	}
	text, _ := io.ReadAll(out)
	fmt.Println(len(text), cmd.Wait())
	in.Close()
}

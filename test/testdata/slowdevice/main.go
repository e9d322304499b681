// Program slowdevice is a text device that answers each PING late.
//
//	slowdevice <address> <id> <delay>
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	delay, err := time.ParseDuration(os.Args[3])
	if err != nil {
		panic(err)
	}
	nc, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(nc, "REGISTER %s\n", os.Args[2])
	for lines := bufio.NewScanner(nc); lines.Scan(); {
		if lines.Text() == "PING" {
			time.Sleep(delay)
			fmt.Fprintf(nc, "PONG\n")
		}
	}
}

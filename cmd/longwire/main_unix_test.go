//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes the test binary the program itself.
const asProgram = "LONGWIRE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		main()
	}
	os.Exit(m.Run())
}

// TestTheGatewayOutlivesTheReaderOfItsLog: the program behind the pipe has crashed. The
// gateway serves on, and drains when it is told to.
func TestTheGatewayOutlivesTheReaderOfItsLog(t *testing.T) {
	log, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.CommandContext(t.Context(), os.Args[0], "serve", "--tcp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir", t.TempDir())
	p.Env, p.Stderr = []string{asProgram + "=1"}, end // settings of the tests are none of the program
	greeting, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	for lines := bufio.NewScanner(greeting); lines.Scan() && !strings.HasPrefix(lines.Text(), "Connect a device"); {
	}
	log.Close()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the gateway ends with %v, want a drain", err)
	}
}

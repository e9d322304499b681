package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// says runs the binary once and returns what it has printed.
func says(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(longwire(t), args...)
	cmd.Env = withoutSettings(cmd.Environ())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("longwire %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// The operator takes one device's token back at the command line: that device is
// cut off within seconds, on both drivers, and the other one notices nothing.
func TestTokenRevokedAtTheCommandLine(t *testing.T) {
	for _, driver := range []string{"auto", "portable"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "tokens")
			stolen := says(t, "devices", "token", "create", "--file", file, "--client", "meter-7")
			id := strings.Fields(strings.Split(says(t, "devices", "token", "list", "--file", file), "\n")[1])[0]
			kept := says(t, "devices", "token", "create", "--file", file, "--client", "meter-8")
			s := serve(t, "", t.TempDir(), "--auth-device-tokens-file", file, "--tcp-driver", driver)
			thief, other := nc(t, s.tcpAddr), nc(t, s.tcpAddr)
			thief.types("REGISTER meter-7 " + stolen)
			thief.sees("REGISTERED ")
			other.types("REGISTER meter-8 " + kept)
			other.sees("REGISTERED ")

			says(t, "devices", "token", "revoke", "--file", file, id)
			revoked := time.Now()
			thief.sees("CLOSE 3006 ")
			if took := time.Since(revoked); took > 10*time.Second { // two, and what a busy machine adds
				t.Errorf("it took %v", took)
			}
			again := nc(t, s.tcpAddr)
			again.types("REGISTER meter-7 " + stolen)
			again.sees("CLOSE 3501 ")
			other.types("PING")
			other.sees("PONG")
		})
	}
}

package protocol

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSpecExamples checks every byte-exact example of SPEC.md: the bytes decode
// to the message of the line, which encodes to the bytes.
func TestSpecExamples(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`^((?:[0-9a-f]{2} )+) +(\S.*)$`)
	checked, dialect := 0, Unknown
	for line := range strings.Lines(string(spec)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "```"); ok {
			dialect, _ = ParseDialect(name)
			continue
		}
		if dialect == Unknown {
			continue
		}
		parts := example.FindStringSubmatch(line)
		if parts == nil {
			t.Errorf("not an example: %q", line)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(parts[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		m, n, broken := decodeAny(dialect, b, true)
		if broken != nil || n != len(b) {
			t.Errorf("%q: %d bytes, %v", line, n, broken)
			continue
		}
		if got := describeFrame(&m); got != parts[2] {
			t.Errorf("%s: got %s, want %s", parts[1], got, parts[2])
		}
		if again := encodeAny(dialect, &m); string(again) != string(b) {
			t.Errorf("%s encodes to % x, want % x", parts[2], again, b)
		}
		checked++
	}
	if checked < 20 {
		t.Errorf("only %d examples found", checked)
	}
}

// TestSpecNamesEverything keeps codes, reasons and sections in step with the
// code.
func TestSpecNamesEverything(t *testing.T) {
	b, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(b)
	for _, reason := range append(sentReasons, ReasonHTTPRequest, ReasonTLSUnsupported, ReasonProxyUnexpected, ReasonProxyRequired,
		ReasonClientClosed, ReasonServerClosed, ReasonHungUp, ReasonConnectionLost, ReasonRegisterRefused) {
		if !strings.Contains(spec, "`"+reason+"`") {
			t.Errorf("SPEC.md does not name %s", reason)
		}
	}
	for code, reason := range codeReasons {
		if !regexp.MustCompile(`(?m)^\| ` + strings.TrimSpace(describeCode(code)) + ` \| .*` + reason).MatchString(spec) {
			t.Errorf("SPEC.md has no row for %d %s", code, reason)
		}
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		code, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, cite := range regexp.MustCompile(`SPEC §([0-9.]+[0-9])`).FindAllStringSubmatch(string(code), -1) {
			if !regexp.MustCompile(`(?m)^###? ` + regexp.QuoteMeta(cite[1]) + `[. ]`).MatchString(spec) {
				t.Errorf("%s cites SPEC §%s, which does not exist", f.Name(), cite[1])
			}
		}
	}
}

func describeCode(c CloseCode) string {
	var b strings.Builder
	describeClose(&b, Close{Code: c})
	return b.String()
}

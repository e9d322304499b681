package hostile

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"runtime"
	"sync"
	"testing"
)

// footprint is what the process holds, the gateway, the honest devices and
// this test together.
type footprint struct {
	heap       uint64 // live bytes, after a collection
	goroutines int
	files      int // open descriptors; 0 where the system does not tell
	conns      int // of devices, as the gateway counts them
}

// Tolerances: what the store, its caches and the runtime may take or give back
// meanwhile. An attack that leaks holds more.
const (
	heapTolerance      = 4 << 20
	goroutineTolerance = 3
	fileTolerance      = 6
)

func (s *site) measure() footprint {
	s.Helper()
	conns := int(s.metric("longwire_tcp_connections"))
	runtime.GC()
	runtime.GC() // what a pool held, a second one frees
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine(), files: openFiles(), conns: conns}
}

func (f footprint) within(before footprint) bool {
	return f.heap <= before.heap+heapTolerance &&
		f.goroutines <= before.goroutines+goroutineTolerance &&
		f.files <= before.files+fileTolerance &&
		f.conns == before.conns
}

func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// journal keeps the end of the gateway's log, which it writes as JSON lines.
// What an attacker sends must not make a line of its own there, and no secret
// may be in one.
type journal struct {
	mu     sync.Mutex
	lines  [20][]byte
	next   int
	broken []byte // the first line that is not one JSON object
	secret []string
	told   []byte // the first line with a secret
}

// forbid names a secret; "" is none.
func (j *journal) forbid(secrets ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range secrets {
		j.secret = append(j.secret, spellings(s)...)
	}
}

// spellings are the ways in which a secret may come to light, none for "".
func spellings(secret string) []string {
	if secret == "" {
		return nil
	}
	b := []byte(secret)
	quoted, _ := json.Marshal(secret) // of a string
	return []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret), hex.EncodeToString(b),
		base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)}
}

// reveals returns the first of secrets that is in text.
func reveals(text []byte, secrets []string) (string, bool) {
	for _, s := range secrets {
		if bytes.Contains(text, []byte(s)) {
			return s, true
		}
	}
	return "", false
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines[j.next%len(j.lines)] = bytes.Clone(line)
	j.next++
	if _, is := reveals(line, j.secret); is && j.told == nil {
		j.told = bytes.Clone(line)
	}
	var o map[string]any
	if j.broken == nil && (json.Unmarshal(line, &o) != nil || bytes.Count(line, []byte("\n")) != 1) {
		j.broken = bytes.Clone(line)
	}
	return len(line), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all bytes.Buffer
	for i := range j.lines {
		all.Write(j.lines[(j.next+i)%len(j.lines)])
	}
	return all.String()
}

func (j *journal) check(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		t.Errorf("a line of the log that is not one JSON object: %q", j.broken)
	}
	if j.told != nil {
		t.Errorf("a line of the log that has a secret: %s", j.told)
	}
}

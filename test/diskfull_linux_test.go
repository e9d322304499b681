package test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// tinyDisk mounts a memory file system of so many MiB until the test ends.
func tinyDisk(t *testing.T, mib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillUp takes what is free on the disk but for some bytes, and returns the file
// that holds it.
func fillUp(t *testing.T, disk string, but uint64) string {
	t.Helper()
	name := filepath.Join(disk, "ballast")
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil {
		t.Fatal(err)
	}
	free := st.Bavail * uint64(st.Bsize)
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if free > but {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(free-but)); err != nil {
			t.Fatalf("take %d of %d bytes: %v", free-but, free, err)
		}
	}
	return name
}

// When the disk is full a push is answered with 503 and never with a 202 that
// is not kept; what is stored can be read meanwhile; /readyz says so; and when
// there is room again the same process accepts again by itself.
func TestFullDiskIsA503ThatHeals(t *testing.T) {
	t.Run("really full", func(t *testing.T) { fullDisk(t, 0, "1B") })
	t.Run("below the minimum", func(t *testing.T) { fullDisk(t, 12<<20, "16MiB") })
}

// With data.min_free 0 the disk may be used up to its end.
func TestMinFreeOf0IsNoMinimum(t *testing.T) {
	disk := tinyDisk(t, 256)
	fillUp(t, disk, 16<<20) // less than a tenth of the disk
	s := serve(t, "", filepath.Join(disk, "data"), "--data-min-free", "0")
	p := &bulkPusher{s: s, payload: "x", accepted: map[string]string{}}
	if n := p.until(t, 4, 202); n != 4 {
		t.Errorf("%d of 4 pushes are accepted although there is room and no minimum", n)
	}
}

// fullDisk leaves so much of the disk free; minFree is the least that the
// gateway wants.
func fullDisk(t *testing.T, left uint64, minFree string) {
	// Each log file sets 35 MiB aside for itself; a few of them are there at once.
	disk := tinyDisk(t, 256)
	data := filepath.Join(disk, "data")
	s := serve(t, "", data, "--data-min-free", minFree)
	p := &bulkPusher{s: s, payload: randomText(200 << 10), accepted: map[string]string{}}
	if n := p.until(t, 4, 202); n == 0 {
		t.Fatal("nothing is accepted on an empty disk")
	}
	ballast := fillUp(t, disk, left)
	// The log has room of its own set aside; it takes some pushes to use it up.
	p.until(t, 1000, 503)

	waitFor(t, "/readyz is red", func() bool { return s.get("/readyz").code == 503 })
	for id := range p.accepted {
		if a := s.get("/v1/messages/" + id); a.code != 200 {
			t.Errorf("message %s reads %d on a full disk, want 200", id, a.code)
		}
	}
	if n := len(p.refused); n == 0 {
		t.Error("no push was refused")
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "/readyz is green again", func() bool { return s.get("/readyz").code == 200 })
	if n := p.until(t, 4, 202); n == 0 {
		t.Error("nothing is accepted although there is room again")
	}
	if code := p.last; code != 202 {
		t.Errorf("push after there is room = %d, want 202", code)
	}

	s.signal(t, syscall.SIGKILL)
	<-s.ended
	next := serve(t, "", data, "--data-min-free", minFree)
	for id, payload := range p.accepted {
		if a := next.get("/v1/messages/" + id); a.code != 200 || a.Status != "queued" || a.Text != payload {
			t.Errorf("message %s was accepted and is now %d %s, payload as pushed: %t", id, a.code, a.Status, a.Text == payload)
		}
	}
	t.Logf("%d messages of 200 KiB accepted before, while and after the disk was full, %d pushes refused, none lost",
		len(p.accepted), len(p.refused))
}

// randomText cannot be compressed to less than half.
func randomText(n int) string {
	b := make([]byte, n/2)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// bulkPusher pushes large messages to clients that are not there.
type bulkPusher struct {
	s       *server
	payload string

	mu       sync.Mutex
	n        int
	accepted map[string]string // payloads by message id
	refused  []int             // codes
	last     int
}

// until pushes at most n messages, four at a time, until one is answered with
// code, and for code 202 all n. It returns how many had that answer.
func (p *bulkPusher) until(t *testing.T, n, code int) (count int) {
	t.Helper()
	var callers sync.WaitGroup
	left := n
	more := func() (int, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if left == 0 || code != 202 && count > 0 {
			return 0, false
		}
		left--
		p.n++
		return p.n, true
	}
	for range 4 {
		callers.Go(func() {
			for i, ok := more(); ok; i, ok = more() {
				got := p.push(t, i)
				p.mu.Lock()
				if got == code {
					count++
				}
				p.mu.Unlock()
			}
		})
	}
	callers.Wait()
	if code != 202 && count == 0 {
		t.Fatalf("%d pushes of %d bytes: none was answered with %d", n, len(p.payload), code)
	}
	return count
}

func (p *bulkPusher) push(t *testing.T, i int) int {
	payload := fmt.Sprintf("%d %s", i, p.payload)
	a, err := p.s.call("POST", fmt.Sprintf("/v1/clients/bulk-%d/messages?on_unknown=queue", i%50), "text/plain", payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		t.Error(errors.Join(errors.New("a push without an answer"), err))
	case a.code == 202:
		p.accepted[a.ID] = payload
	case a.code == 503:
		p.refused = append(p.refused, a.code)
	default:
		t.Errorf("push = %d, want 202 or 503", a.code)
	}
	p.last = a.code
	return a.code
}

package gateway

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"unsafe"
)

// An idle session is counted in bytes: a million of them stand in memory. 128
// is a size class; one more member costs 16 bytes for each of them.
func TestSessionSize(t *testing.T) {
	if got := unsafe.Sizeof(Session{}); got > 128 {
		t.Errorf("a session takes %d bytes, want at most 128", got)
	}
	if got := unsafe.Sizeof(inflight{}); got > 56 {
		t.Errorf("a delivery in flight takes %d bytes, want at most 56", got)
	}
}

// The gateway's memory for an idle client: the session (128), its place in the
// hub and in the directory (60 to 90), its connect event (72) and its id. The
// link and the store's record are not included.
func TestHeapOfAConnectedClient(t *testing.T) { wantHeapOfAClient(t, nil, 340) }

// A credential that can be taken back adds its place in a table, and itself.
func TestHeapOfACredential(t *testing.T) {
	wantHeapOfAClient(t, func(context.Context, Hello) (Grant, error) { return Grant{Credential: smallest{}}, nil }, 340+80)
}

// smallest is a credential without anything.
type smallest struct{}

func (smallest) Holds(ClientID) bool { return true }

func wantHeapOfAClient(t *testing.T, authenticate func(context.Context, Hello) (Grant, error), most float64) {
	t.Helper()
	const n = 30_000
	g := New(Config{Store: rollStore{}, NewID: func() [16]byte { return [16]byte{} }, Authenticate: authenticate})
	before := heapInUse()
	for i := range n {
		s, _, err := g.Connect(context.Background(), Hello{Client: ClientID(fmt.Sprintf("client-%06d", i)), Dialect: "v2"}, namedLink{})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		g.runs.popSessionLocked().run.Store(idle) // in place of a worker
	}
	got := float64(heapInUse()-before) / n
	runtime.KeepAlive(g)
	t.Logf("%.0f bytes", got)
	if got > most {
		t.Errorf("a connected client takes %.0f bytes, want at most %.0f", got, most)
	}
}

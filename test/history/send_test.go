//go:build linux

package history

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// The SDK's Send returns nil for stored payloads only, although the disk was full
// for a while, connections were lost then, and later uplinks overtook those that
// the gateway had put off.
func TestSendThatReturnedNilIsStoredAlthoughTheDiskWasFull(t *testing.T) {
	g := newGateway(t, program(t), storeDir(t, 256))
	if filepath.Base(g.dir) != "disk" {
		t.Skip("no disk can be filled")
	}
	g.start()
	p := newProxy(t, g.tcpAddr, false, 1)
	p.calm.Store(true)
	senders := []*sender{startSender(t, p.addr(), protocol.V2), startSender(t, p.addr(), protocol.Text)}
	send := func(name string, n int) {
		for _, s := range senders {
			s.send(t, name, n)
		}
	}
	wait := func(code byte, n int, what string) {
		t.Helper()
		waitWithin(t, time.Minute, what, func() bool { return senders[0].answers(code) >= n && senders[1].answers(code) >= n })
	}
	send("before", 20)
	wait(codeOK, 20, "what came before is stored")
	free := fill(t, g.dir, 12<<20) // half of what the gateway wants
	api := &callers{g: g}
	ready := func(want int) {
		t.Helper()
		waitWithin(t, time.Minute, fmt.Sprintf("/readyz answers %d", want), func() bool {
			code, _, err := api.call("GET", "/readyz", "", "", nil)
			return err == nil && code == want
		})
	}
	ready(503)
	send("first", 5)
	wait(codeLater, 10, "each is put off twice")
	p.outage(true)
	p.outage(false)
	send("second", 5)
	wait(codeLater, 20, "all are put off on the next connection")
	free()
	ready(200)
	send("after", 200) // the first and the second wait for up to a second
	for _, s := range senders {
		s.calls.Wait()
		s.wantStored(t, api, 230)
	}
}

// sender is a device that has much to tell at once.
type sender struct {
	*sdkDevice
	client *sdk.Client
	calls  sync.WaitGroup // of Send
}

func startSender(t *testing.T, addr string, d protocol.Dialect) *sender {
	t.Helper()
	j := &journal{client: "sender-" + d.String(), dialect: d.String()}
	s := &sender{sdkDevice: newSDKDevice(t, j.client, addr, d, 1, new(atomic.Bool), j)}
	var err error
	s.client, err = sdk.New(sdk.Config{ID: s.id, Dialect: d, Dial: s.dial, Logger: slog.New(slog.DiscardHandler),
		Backoff: sdk.Backoff{Min: 5 * time.Millisecond, Max: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.client.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

// send begins n calls of Send.
func (s *sender) send(t *testing.T, name string, n int) {
	for i := range n {
		s.calls.Go(func() {
			payload := fmt.Sprintf("%s %d", name, i)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := s.client.Send(ctx, []byte(payload)); err != nil {
				t.Errorf("%s: Send of %q: %v", s.id, payload, err)
				return
			}
			s.j.write(entry{what: done, payload: digest(payload)})
		})
	}
}

// answers counts the gateway's answers with a code.
func (s *sender) answers(code byte) (n int) {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	for _, e := range s.j.entries {
		if e.what == stored && e.code == code {
			n++
		}
	}
	return n
}

// wantStored checks that n calls have returned nil, and that the API lists their
// payloads.
func (s *sender) wantStored(t *testing.T, api *callers, n int) {
	t.Helper()
	code, page, err := api.call("GET", "/v1/uplinks?limit=1000&client="+s.id, "", "", nil)
	if err != nil || code != 200 {
		t.Fatalf("uplinks of %s: %d, %v", s.id, code, err)
	}
	h := &history{journals: map[string]*journal{s.id: s.j}, book: newBook(), uplinks: map[string][]shown{s.id: page.Items}}
	report(t, h.check())
	returned := 0
	for _, e := range s.j.entries {
		if e.what == done {
			returned++
		}
	}
	if returned != n {
		t.Errorf("%s: %d of %d calls of Send have returned nil", s.id, returned, n)
	}
	t.Logf("%s: %d calls of Send have returned nil, %d uplinks are listed, %d answers said retry later", s.id, returned, len(page.Items), s.answers(codeLater))
}

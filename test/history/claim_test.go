//go:build unix

package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// A message that expires before it is sent, while no gateway is up, does not become
// acked when its device comes first of all and claims to have handled it.
func TestClaimDoesNotSettleWhatExpiredUnsent(t *testing.T) {
	g := newGateway(t, program(t), t.TempDir())
	g.start()
	api := &callers{g: g}
	logs, ids, expire := map[string]string{}, map[string]string{}, time.Time{}
	for i := range 8 {
		id := fmt.Sprint("lock-", i)
		logs[id] = claim(t, g.tcpAddr, hello{ID: id}).Log
	}
	for id := range logs {
		code, m, err := api.call("POST", "/v1/clients/"+id+"/messages", "application/json", "", []byte(`{"text":"open","ttl":"1s"}`))
		if err != nil || code != 202 {
			t.Fatalf("push = %d, %v", code, err)
		}
		ids[id], expire = m.ID, m.ExpiresAt
	}
	g.kill()
	<-time.After(time.Until(expire) + 50*time.Millisecond)
	g.spawn()
	var devices sync.WaitGroup
	for id, log := range logs {
		first := uint64(1) // the message's sequence
		h := hello{ID: id, Log: log, AskThrough: &first}
		if os.Getenv("LONGWIRE_HISTORY_LAST_SEQ") != "" {
			h.AskThrough, h.LastSeq = nil, &first
		}
		devices.Go(func() { claim(t, g.tcpAddr, h) })
	}
	devices.Wait()
	for id, message := range ids {
		waitWithin(t, time.Minute, "the message of "+id+" is final", func() bool {
			code, m, err := api.call("GET", "/v1/messages/"+message, "", "", nil)
			if err != nil || code != 200 || !final(m.status()) {
				return false
			}
			if m.status() != "expired" {
				t.Errorf("the message of %s, which was never sent, is %s", id, m.status())
			}
			return true
		})
	}
}

// claim registers as soon as a gateway listens, reads what it answers, and goes.
func claim(t *testing.T, addr string, h hello) (w welcome) {
	var socket net.Conn
	for deadline := time.Now().Add(30 * time.Second); ; {
		var err error
		if socket, err = net.Dial("tcp", addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return w
		}
		<-time.After(time.Millisecond)
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(time.Minute))
	if _, err := socket.Write(framed{}.hello(h)); err != nil {
		t.Error(err)
	}
	m, err := framed{}.read(bufio.NewReader(socket))
	if err == nil {
		err = json.Unmarshal(m.body, &w)
	}
	if err != nil || m.kind != registerAck || h.Log != "" && !w.Resumed {
		t.Errorf("the answer to the REGISTER of %s is %d %s, %v", h.ID, m.kind, m.body, err)
	}
	return w
}

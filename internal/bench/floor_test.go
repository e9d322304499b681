package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// bareHere is a bare server in this process.
func bareHere(t *testing.T, dir string) *target {
	t.Helper()
	server, err := startHere(t.Context(), "", spec{role: bareServer}, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.stop() })
	return server
}

func TestBareServerAnswersDevices(t *testing.T) {
	server := bareHere(t, "")
	devices := aRun(t).newDevices(server, 2, func(d *device) error { return errors.Join(d.beat(), d.uplink(), d.uplink()) })
	for _, call := range devices.all {
		for range 3 {
			if _, err := call(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBareServerKeepsWhatItAcks finds bodies acked over HTTP and by the device
// port in the server's file.
func TestBareServerKeepsWhatItAcks(t *testing.T) {
	dir := t.TempDir()
	server := bareHere(t, dir)
	if _, err := server.want(t.Context(), 200, "POST", "/v1/clients/a/messages", "", []byte("over HTTP")); err != nil {
		t.Error(err)
	}
	if _, err := aRun(t).newDevices(server, 1, (*device).uplink).all[0](); err != nil {
		t.Error(err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{[]byte("over HTTP"), pushPayload} {
		if !bytes.Contains(kept, want) {
			t.Errorf("%q was acked and is not in the file", want)
		}
	}
}

func TestBareServerDelivers(t *testing.T) {
	srv := bareHere(t, "")
	if _, err := srv.want(t.Context(), 504, "POST", "/v1/messages", "", []byte("x")); err != nil {
		t.Errorf("a broadcast to nobody: %v", err)
	}
	r := aRun(t)
	r.connect(srv, Join{Count: 7})
	for range 200 { // more than there are numbers of deliveries
		if err := srv.broadcast(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.bulk(t.Context(), r.bulkBody(20, 7), 20); err != nil {
		t.Error(err)
	}
}

// TestAcksOfAnotherDeliveryDoNotCount gives up a delivery whose acks come later.
func TestAcksOfAnotherDeliveryDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		go func() { _, _ = io.Copy(io.Discard, far) }() // ends with the pipe
		device := newWire(near)
		f := &floor{conns: map[*wire]struct{}{device: {}}}
		deliver := func() <-chan error {
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			go func() { // ends with the acks or the time
				defer cancel()
				ended <- f.deliver(ctx, 1, func(int) []byte { return pushPayload })
			}()
			synctest.Wait()
			return ended
		}
		ack := func(number byte) {
			_ = f.answer(device, frame{kind: frameAck, body: []byte{number, 0}})
			synctest.Wait()
		}
		if err := <-deliver(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a delivery that nobody acks: %v", err)
		}
		first := f.current.Load().number
		ack(first) // late, and before the next one
		second := deliver()
		ack(first) // later still
		select {
		case err := <-second:
			t.Fatalf("the second delivery ended with an ack of the first, %v", err)
		default:
		}
		ack(f.current.Load().number)
		if err := <-second; err != nil {
			t.Errorf("the second delivery: %v", err)
		}
	})
}

func TestDeviceWaitsForItsAnswer(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	d := &device{wire: newWire(near)}
	said := make(chan []byte, 1)
	go func() { // ends with the conversation
		defer far.Close()
		buf := make([]byte, 100)
		n, _ := far.Read(buf)
		said <- buf[:n]
		for _, b := range heartbeatFrame {
			_, _ = far.Write([]byte{b})
		}
		_, _ = far.Read(make([]byte, len(heartbeatAckFrame)))
		for _, b := range []byte{frameAck, frameVersion, 2, 1, 0} {
			_, _ = far.Write([]byte{b})
		}
		_, _ = far.Write([]byte{frameClose, frameVersion, 6, 0x0b, 0xb8, 0, 0, 0, 0})
	}()
	if err := d.uplink(); err != nil {
		t.Fatal(err)
	}
	if want := appendData(nil, 1, pushPayload); !bytes.Equal(<-said, want) {
		t.Errorf("the first uplink is not %x", want)
	}
	if _, err := d.next(); err == nil {
		t.Error("CLOSE does not end the wait")
	}
}

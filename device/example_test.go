package device_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// A valve that opens and closes, and sends one uplink when it is up. It remembers
// handled messages across restarts.
func Example() {
	dir, err := os.MkdirTemp("", "valve")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	valve, err := device.New(device.Config{
		Addr:  "localhost:6666",
		ID:    "valve-7",
		State: &device.FileState{Path: filepath.Join(dir, "valve.state")},
		Handler: func(ctx context.Context, m device.Message) ([]byte, error) {
			switch string(m.Payload) {
			case "open", "close":
				fmt.Printf("valve: %s (seq %d)\n", m.Payload, m.Seq)
				return []byte("done"), nil
			}
			return nil, fmt.Errorf("cannot %s", m.Payload)
		},
		Logger: slog.New(slog.DiscardHandler),
		Dial:   pretendGateway("open", "sing"), // leave it out for a real one
	})
	if err != nil {
		panic(err)
	}
	go func() {
		if err := valve.Send(ctx, []byte("hello")); err != nil {
			fmt.Println(err)
		}
		cancel()
	}()
	if err := valve.Run(ctx); !errors.Is(err, context.Canceled) {
		fmt.Println(err)
	}
	// Output:
	// valve: open (seq 1)
	// gateway: delivery 1 is ok: "done"
	// gateway: delivery 2 is reject: "cannot sing"
	// gateway: uplink "hello"
}

// Run ends when the gateway says not to come back.
func ExampleClosedError() {
	c, err := device.New(device.Config{ID: "valve-7", Token: "wrong", Addr: "localhost:6666",
		Logger: slog.New(slog.DiscardHandler), Dial: pretendGateway()})
	if err != nil {
		panic(err)
	}
	err = c.Run(context.Background())
	if closed, ok := errors.AsType[*device.ClosedError](err); ok {
		fmt.Println(closed.Close.Code, closed.Close.Reason)
	}
	// Output: 3501 unauthorized
}

// pretendGateway answers one connection: it delivers the payloads one by one,
// and acks uplinks after that. It refuses clients when there are none.
func pretendGateway(payloads ...string) func(context.Context, string) (net.Conn, error) {
	return func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(ours, payloads)
		return theirs, nil
	}
}

func serve(conn net.Conn, payloads []string) {
	defer conn.Close()
	s := protocol.NewServer(nil, time.Now())
	var uplinks []protocol.Event
	delivered := 0
	buf := make([]byte, 4096)
	deliver := func() {
		if delivered < len(payloads) {
			delivered++
			_ = s.Send(time.Now(), protocol.Data{Seq: uint64(delivered), Payload: []byte(payloads[delivered-1])})
			return
		}
		for _, e := range uplinks {
			fmt.Printf("gateway: uplink %q\n", e.Payload)
			_ = s.AckData(time.Now(), e.Seq, protocol.AckOK, nil)
		}
		uplinks = nil
	}
	handle := func(e protocol.Event) {
		switch e.Kind {
		case protocol.KindRegister:
			if len(payloads) == 0 {
				s.Refuse(time.Now(), protocol.Close{Code: protocol.CloseUnauthorized})
				return
			}
			s.Accept(time.Now(), protocol.Registered{Session: "ses_1", Log: "log_1", Ask: true})
			deliver()
		case protocol.KindAck:
			fmt.Printf("gateway: delivery %d is %s: %q\n", e.Seq, e.Code, e.Payload)
			deliver()
		case protocol.KindData:
			if uplinks = append(uplinks, e); delivered == len(payloads) && s.InFlight() == 0 {
				deliver()
			}
		}
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		s.Receive(time.Now(), buf[:n])
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			handle(e)
		}
		out := s.AppendOutput(nil)
		if _, err := conn.Write(out); err != nil {
			return
		}
		s.Flushed(time.Now(), len(out))
	}
}

package tcpserver

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// Gateway is where connections register.
type Gateway interface {
	// Connect registers a client; link must be ready for calls before it
	// returns. Its error's gateway.Code chooses the close code.
	Connect(ctx context.Context, h gateway.Hello, link gateway.Link) (*gateway.Session, gateway.Welcome, error)
}

// Config fixes a server's parts and limits. Zero values take the default named
// at the field.
type Config struct {
	// Listener accepts the connections. When nil, Addr is listened on, a TCP
	// address ("127.0.0.1:6666"; port 0 takes a free one).
	Listener net.Listener
	Addr     string

	Protocol protocol.Config // timers and limits of the device protocol
	Gateway  Gateway         // required
	Wheel    *wheel.Wheel    // required, started; keeps the deadlines of all connections

	// OutputBudget bounds the bytes that are kept in memory for one device
	// that reads slowly: 1 MiB. Beyond it deliveries wait in the store.
	OutputBudget int
	// WriteTimeout is how long a device may take nothing of what is written
	// to it before it is closed as a slow consumer: 10 s.
	WriteTimeout time.Duration
	// LingerTimeout bounds the wait for a device to read the last words that
	// it was sent and to close its end: 1 s.
	LingerTimeout time.Duration

	MaxConns             int // open connections: the file limit less a reserve
	MaxUnregistered      int // connections that have not registered yet: 4,096
	MaxUnregisteredPerIP int // the same from one address (IPv6: /64), loopback excepted: 256

	Workers      int           // goroutines that run turns: 4 × GOMAXPROCS, at least 8
	StoreCalls   int           // Connect and Received calls at once: 1,024
	StoreTimeout time.Duration // of one such call: 10 s

	Logger *slog.Logger // nil discards
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	num(&c.OutputBudget, 1<<20)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.LingerTimeout, time.Second)
	num(&c.MaxConns, maxConnsByFileLimit())
	num(&c.MaxUnregistered, 4096)
	num(&c.MaxUnregisteredPerIP, 256)
	num(&c.Workers, max(8, 4*runtime.GOMAXPROCS(0)))
	num(&c.StoreCalls, 1024)
	def(&c.StoreTimeout, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Bounds that are not settings.
const (
	readBufferSize = 16 << 10 // bytes of one read
	smallRead      = 512      // bytes; most reads are not larger
	// maxInbox is how many reads may wait for a turn before reading pauses.
	maxInbox = 4
	// turnEvents is how many events one turn handles before other
	// connections get theirs.
	turnEvents = 64
	// lingerBytes is how much a closed connection's device may still send
	// before it is cut off.
	lingerBytes = 256 << 10
	// lateness is how late a deadline may be seen before we suspect that this
	// process was stalled, and read what has come before we judge silence.
	lateness = 500 * time.Millisecond

	keepAliveIdle     = 60 * time.Second // second line of defence behind the protocol's heartbeat
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// session is the gateway's side of a registered connection.
type session interface {
	Start()
	Sent(seq gateway.Seq, ephemeral bool)
	Acked(seq gateway.Seq, ephemeral bool, code gateway.AckCode, result []byte)
	AckTimeout(seq gateway.Seq, ephemeral bool)
	Writable()
	Received(ctx context.Context, id uint64, payload []byte) error
	Closed(reason string)
}

// connector is Gateway with the session as an interface.
type connector func(ctx context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error)

func connectTo(g Gateway) connector {
	return func(ctx context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error) {
		s, w, err := g.Connect(ctx, h, link)
		if err != nil {
			return nil, w, err // not a nil *Session in a session
		}
		return s, w, nil
	}
}

package tcpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
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

	Driver Driver // of plain TCP connections: DriverAuto

	// OutputBudget bounds the bytes that are kept in memory for one device
	// that reads slowly: 1 MiB. Beyond it deliveries wait in the store.
	OutputBudget int
	// OutputMemory bounds the same for all devices together: 256 MiB. Beyond it
	// the device that has been behind for longest is closed as a slow consumer.
	OutputMemory int
	// InputBudget bounds the bytes that are kept for frames of all devices that
	// have begun and not ended: 64 MiB. Beyond it the device with the largest is
	// closed.
	InputBudget int
	// WriteTimeout is how long a device may take nothing of what is written
	// to it before it is closed as a slow consumer: 10 s.
	WriteTimeout time.Duration
	// LingerTimeout bounds the wait for a device to read the last words that
	// it was sent and to close its end: 1 s.
	LingerTimeout time.Duration

	MaxConns             int // open connections: the file limit less a reserve
	MaxUnregistered      int // connections that have not registered yet: 4,096
	MaxUnregisteredPerIP int // the same from one address (IPv6: /64), loopback excepted: 1,024

	AcceptRates    Rates // connections
	HandshakeRates Rates // TLS handshakes
	RegisterRates  Rates // REGISTERs that are asked of the gateway

	// ClientMessageRate and ClientByteRate bound what one device sends, per
	// second, acks of what it was sent excepted from the first; 0 = no bound.
	// Ten seconds' worth may come at once. Who sends more is read more slowly,
	// and is closed when that does not help.
	ClientMessageRate, ClientByteRate int

	// DeliveryRate and DeliveryByteRate bound the deliveries to one device and
	// their payload bytes, per second, ten seconds' worth at once; 0 = no bound.
	// What is more waits.
	DeliveryRate, DeliveryByteRate int

	// MemoryLimit is how many bytes the process may use before new
	// connections are refused; 0 = no such limit. MemoryUsed measures them;
	// nil asks the runtime.
	MemoryLimit uint64
	MemoryUsed  func() uint64

	// TLS lets devices speak TLS on the same port; nil refuses a TLS hello.
	// With TLSRequired nothing else is taken.
	TLS         *tls.Config
	TLSRequired bool

	// ProxyTrusted are the addresses of proxies. A connection from there MUST
	// begin with a PROXY header, v1 or v2, which tells the device's address;
	// one from elsewhere must not.
	ProxyTrusted []netip.Prefix

	Workers      int           // goroutines that run turns: 4 × GOMAXPROCS, at least 8
	StoreCalls   int           // Connect and Received calls at once: 1,024
	StoreTimeout time.Duration // of one such call, and up to a sixteenth more: 10 s

	// Now is the clock whose wall reading the gateway gets with Sent and Acked, and
	// which says how much of a credential's time is left at the registration. Nil is
	// time.Now. Deadlines are on its monotonic reading.
	Now func() time.Time

	Logger *slog.Logger // nil discards

	kernel kernel // of the tests; nil = the system's, as Driver says
}

// Driver is a way to drive plain TCP connections. Other ones always have a
// goroutine each.
type Driver string

const (
	DriverAuto     Driver = "auto"     // epoll where it exists
	DriverPortable Driver = "portable" // a goroutine for each connection
	DriverEpoll    Driver = "epoll"    // events of the system; Linux only
)

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
	def(&c.Protocol.RegisterTimeout, 10*time.Second) // as the protocol has it; it bounds the preamble, too
	c.Driver = cmp.Or(c.Driver, DriverAuto)
	num(&c.OutputBudget, 1<<20)
	num(&c.InputBudget, 64<<20)
	num(&c.OutputMemory, 256<<20)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.LingerTimeout, time.Second)
	num(&c.MaxConns, maxConnsByFileLimit())
	num(&c.MaxUnregistered, 4096)
	num(&c.MaxUnregisteredPerIP, 1024)
	num(&c.Workers, max(8, 4*runtime.GOMAXPROCS(0)))
	num(&c.StoreCalls, 1024)
	def(&c.StoreTimeout, 10*time.Second)
	if c.MemoryUsed == nil {
		c.MemoryUsed = memoryInUse()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
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
	// connections get theirs; a read counts as eventsPerRead.
	turnEvents    = 64
	eventsPerRead = 8
	// spareCallers is how many goroutines wait for turns that call the store.
	spareCallers = 32
	// lingerBytes is how much a closed connection's device may still send
	// before it is cut off.
	lingerBytes = 256 << 10
	// maxTurningAway bounds the refused connections that are told why at a
	// time; above it they are cut off. It is less where files are few.
	maxTurningAway = 256
	// maxLinesPerSource bounds the log lines about refused registrations of one
	// source in a minute, maxLines those of all sources.
	maxLinesPerSource = 20
	maxLines          = 600
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
	Sent(seq gateway.Seq, ephemeral bool, at time.Time)
	Acked(seq gateway.Seq, ephemeral bool, code gateway.AckCode, result []byte, at time.Time)
	TryAcked(seq gateway.Seq, code gateway.AckCode, result []byte, at time.Time) bool
	AckedOther(seq gateway.Seq, ephemeral bool)
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

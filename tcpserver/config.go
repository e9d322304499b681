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
	"github.com/longwire/longwire/internal/openfiles"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// Gateway registers connections.
type Gateway interface {
	// Connect registers a client. link must be ready for calls before Connect
	// returns. The gateway.Code of its error selects the close code.
	Connect(ctx context.Context, h gateway.Hello, link gateway.Link) (*gateway.Session, gateway.Welcome, error)
}

// Config fixes a server's parts and limits. Zero values mean the default in the
// field's comment.
type Config struct {
	// Listener accepts the connections. If it is nil, the server listens on Addr, a
	// TCP address ("127.0.0.1:6666"; port 0 takes a free one).
	Listener net.Listener
	Addr     string

	Protocol protocol.Config // timers and limits of the device protocol
	Gateway  Gateway         // required
	Wheel    *wheel.Wheel    // required and started; it holds the deadlines of all connections

	Driver Driver // for plain TCP connections: DriverAuto

	// OutputBudget bounds the bytes in memory that wait for one slow device: 1 MiB.
	// Beyond it deliveries wait in the store.
	OutputBudget int
	// OutputMemory bounds the same for all devices together: 256 MiB. Beyond it the
	// server closes the device that has been behind for longest as a slow consumer.
	OutputMemory int
	// InputBudget bounds the bytes in memory of incomplete frames of all devices:
	// 64 MiB. Beyond it the server closes the device with the largest.
	InputBudget int
	// WriteTimeout is how long a device may read none of its output before the
	// server closes it as a slow consumer: 10 s.
	WriteTimeout time.Duration
	// LingerTimeout bounds the wait for a device to read its last output and to
	// close its end: 1 s.
	LingerTimeout time.Duration

	MaxConns             int // open connections: the file limit minus a reserve
	MaxUnregistered      int // connections that have not registered yet: 4,096
	MaxUnregisteredPerIP int // the same from one address (IPv6: /64), loopback excepted: 1,024

	AcceptRates    Rates // connections
	HandshakeRates Rates // TLS handshakes
	RegisterRates  Rates // REGISTERs that reach the gateway

	// ClientMessageRate and ClientByteRate bound the messages and bytes of one
	// device per second; acks of deliveries do not count as messages. 0 = no bound.
	// Ten seconds' worth may come at once. The server reads a faster device more
	// slowly, and closes it if that does not help.
	ClientMessageRate, ClientByteRate int

	// DeliveryRate and DeliveryByteRate bound the deliveries to one device and
	// their payload bytes per second, ten seconds' worth at once; 0 = no bound.
	// Others wait.
	DeliveryRate, DeliveryByteRate int

	// MemoryLimit is how many bytes the process may use before the server refuses
	// new connections; 0 = no limit. MemoryUsed measures them; nil asks the
	// runtime.
	MemoryLimit uint64
	MemoryUsed  func() uint64

	// TLS lets devices speak TLS on the same port; nil refuses a TLS hello. With
	// TLSRequired the server refuses every other protocol.
	TLS         *tls.Config
	TLSRequired bool

	// ProxyTrusted are the addresses of proxies. Their connections MUST begin with
	// a PROXY header, v1 or v2, which contains the device's address; other
	// connections must not.
	ProxyTrusted []netip.Prefix

	Workers      int           // goroutines that run turns: 4 × GOMAXPROCS, at least 8
	StoreTimeout time.Duration // for one such call, and up to a sixteenth more: 10 s

	// Now is the clock for Sent and Acked of the gateway, and for the lifetime of a
	// credential at registration. Nil is time.Now. Deadlines use its monotonic
	// reading.
	Now func() time.Time

	Observer Observer // of connections; nil costs nothing

	// Unnamed is notified of a registration that cannot be read or has no valid id, with
	// the reason and the start of what stood in the place of the id. The Hello has the
	// address, the transport and the dialect. Nil costs nothing.
	Unnamed func(h gateway.Hello, reason string, id []byte)

	Logger *slog.Logger // nil discards all records

	kernel kernel // for tests; nil = the system's, selected by Driver
}

// Driver is a way to drive plain TCP connections. Other connections always have a
// goroutine each.
type Driver string

const (
	DriverAuto     Driver = "auto"     // epoll if the system has it
	DriverPortable Driver = "portable" // a goroutine for each connection
	DriverEpoll    Driver = "epoll"    // the system's events; Linux only
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
	def(&c.Protocol.RegisterTimeout, 10*time.Second) // the protocol's default; it also bounds the preamble
	c.Driver = cmp.Or(c.Driver, DriverAuto)
	num(&c.OutputBudget, 1<<20)
	num(&c.InputBudget, 64<<20)
	num(&c.OutputMemory, 256<<20)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.LingerTimeout, time.Second)
	num(&c.MaxConns, mostConns())
	num(&c.MaxUnregistered, 4096)
	num(&c.MaxUnregisteredPerIP, 1024)
	num(&c.Workers, max(8, 4*runtime.GOMAXPROCS(0)))
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

// mostConns leaves some of the process's files to the store, the API and the rest.
func mostConns() int {
	if files := openfiles.Limit(); files > 0 {
		return openfiles.ForDevices(files)
	}
	return 1 << 20 // a bound by memory
}

// Limits that are not settings.
const (
	readBufferSize = 16 << 10 // bytes of one read
	smallRead      = 512      // bytes; most reads are smaller
	// maxInbox bounds the reads that wait for a turn; at the bound reading pauses.
	maxInbox = 4
	// turnEvents is how many events one turn handles before other connections have
	// theirs; a read counts as eventsPerRead.
	turnEvents    = 64
	eventsPerRead = 8
	// maxCallers bounds the concurrent calls of Connect and Received.
	maxCallers = 1024
	// spareCallers is how many idle goroutines are kept for turns that call the
	// store.
	spareCallers = 32
	// lingerBytes is how many bytes a device may send after its connection was
	// closed, before the server cuts it off.
	lingerBytes = 256 << 10
	// maxTurningAway bounds the refused connections that get a close at a time; the
	// server cuts off the others. The bound is lower if the file limit is low.
	maxTurningAway = 256
	// maxLinesPerSource bounds the log lines per minute about refused registrations
	// and strangers of one source, maxLines those of all sources.
	maxLinesPerSource = 20
	maxLines          = 600
	// lateness is how late a turn may see a deadline. A later turn means that this
	// process was stalled; then the turn reads pending input before it treats
	// silence as a timeout.
	lateness = 500 * time.Millisecond

	keepAliveIdle     = 60 * time.Second // TCP keep-alive, in case the protocol's heartbeat fails
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// session is the gateway's part of a registered connection.
type session interface {
	Start()
	Sent(seq gateway.Seq, ephemeral bool, at time.Time)
	Acked(seq gateway.Seq, ephemeral bool, code gateway.AckCode, result []byte, at time.Time)
	TryAcked(seq gateway.Seq, code gateway.AckCode, result []byte, at time.Time) bool
	AckedOther(seq gateway.Seq, ephemeral bool)
	AckTimeout(seq gateway.Seq, ephemeral bool)
	Writable()
	Suspect()
	Alive(rtt time.Duration)
	Received(ctx context.Context, id uint64, payload []byte) error
	Closed(reason string)
}

// connector is Gateway.Connect with the session as an interface.
type connector func(ctx context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error)

func connectTo(g Gateway) connector {
	return func(ctx context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error) {
		s, w, err := g.Connect(ctx, h, link)
		if err != nil {
			return nil, w, err // do not wrap a nil *Session in a session
		}
		return s, w, nil
	}
}

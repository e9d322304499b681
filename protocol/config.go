package protocol

import (
	"cmp"
	"time"
)

// Role is the end of the wire that a Session serves.
type Role uint8

const (
	Server Role = iota
	Device
)

// Config is shared by all sessions of one server, or one device. Zero fields mean
// the default. Sessions only read it: it must not change while a session lives.
type Config struct {
	// Heartbeat is how long the peer may be silent before the server sends it a
	// heartbeat. Default 10 s. v2 and text clients may propose their own, clamped to
	// MinHeartbeat and MaxHeartbeat.
	Heartbeat time.Duration
	// MaxHeartbeat is the longest heartbeat that a client may have. Default and
	// maximum MaxHeartbeat.
	MaxHeartbeat time.Duration
	// Grace is how long the peer may take to answer a heartbeat. Default 2 s.
	Grace time.Duration
	// RegisterTimeout is how long a connection may exist without a registration.
	// Default 10 s. It does not run while the driver decides.
	RegisterTimeout time.Duration
	// AckTimeout is how long a delivery may be unacked after the flush of its
	// last byte. Default 30 s.
	AckTimeout time.Duration
	// V1AckTimeout is AckTimeout for v1 peers. Default 3 s.
	V1AckTimeout time.Duration
	// V1Gap is the pause between any two frames to a v1 peer, so that they
	// arrive as two reads. Default 30 ms.
	V1Gap time.Duration
	// V1Token makes a server take a token after the id of a v1 REGISTER.
	V1Token bool
	// Window is how many deliveries may be unacked if the client proposes no
	// window. Default 16. v1 always has 1.
	Window int
	// MaxWindow is the largest window that a client may have. Default and maximum
	// 256.
	MaxWindow int
	// MaxPayload is the largest payload in bytes. Default 256 KiB. v1 has at
	// most 126, text 48,000.
	MaxPayload int
	// Jitter returns a duration in [0, max). The first two heartbeats together
	// come that much early, so that clients that reconnect at once do not answer
	// at once. max is the whole interval: a smaller one would leave a part of
	// every interval empty for ever. Nil means none.
	Jitter func(max time.Duration) time.Duration
	// Frames is notified of every frame. Nil costs nothing.
	Frames FrameObserver
}

var defaults Config

func (c *Config) heartbeat() time.Duration { return cmp.Or(c.Heartbeat, 10*time.Second) }
func (c *Config) maxHeartbeat() time.Duration {
	return min(cmp.Or(c.MaxHeartbeat, MaxHeartbeat), MaxHeartbeat)
}
func (c *Config) grace() time.Duration        { return cmp.Or(c.Grace, 2*time.Second) }
func (c *Config) registerTime() time.Duration { return cmp.Or(c.RegisterTimeout, 10*time.Second) }
func (c *Config) v1AckTimeout() time.Duration { return cmp.Or(c.V1AckTimeout, 3*time.Second) }
func (c *Config) v1Gap() time.Duration        { return cmp.Or(c.V1Gap, 30*time.Millisecond) }

func (c *Config) ackTimeout() time.Duration { return cmp.Or(c.AckTimeout, 30*time.Second) }

// window returns the window for a client that proposed n; 0 is no proposal.
func (c *Config) window(t *traits, n int) int {
	most := min(cmp.Or(c.MaxWindow, maxWireWindow), t.window)
	return max(1, min(cmp.Or(n, c.Window, 16), most))
}

func (c *Config) maxPayload(t *traits) int {
	return max(1, min(cmp.Or(c.MaxPayload, 256<<10), t.payload))
}

package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the files to follow and the TLS settings of the listener.
type Options struct {
	Files
	// Listener names the port in logs.
	Listener string
	// ClientAuth is whether clients must show a certificate. Verification needs
	// Files.ClientCA.
	ClientAuth tls.ClientAuthType
	// Protocols are offered by ALPN, the preferred one first; nil for none.
	Protocols []string
	// Every is how often the files are checked: 5 s.
	Every  time.Duration
	Logger *slog.Logger // nil discards
}

// Keeper has the last files that could be used. Its methods may be called from
// any goroutine.
type Keeper struct {
	opts    Options
	config  *tls.Config // returned by Config; it uses current
	current atomic.Pointer[tls.Config]

	notAfter        atomic.Int64 // of the certificate in use, Unix seconds
	loads, failures atomic.Uint64

	mu   sync.Mutex
	seen state  // of the files that were last read
	flaw string // why they could not be used, "" if they are in use

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open reads the files. Only Open returns their errors; later ones are logged.
func Open(o Options) (*Keeper, error) {
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{opts: o, stop: func() {}}
	k.config = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: o.Protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return k.current.Load(), nil
		},
	}
	if err := k.load(); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", o.Listener, err)
	}
	return k, nil
}

// Config returns the configuration for a listener. Each handshake uses the
// certificate of its time. Package tls makes and rotates the keys of session
// tickets; they outlast a reload.
func (k *Keeper) Config() *tls.Config { return k.config }

// Start watches the files until Stop.
func (k *Keeper) Start() {
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.done.Go(func() { k.watch(ctx) })
}

// Stop ends the watch and waits for it. The configuration stays usable.
func (k *Keeper) Stop() {
	k.stop()
	k.done.Wait()
}

func (k *Keeper) watch(ctx context.Context) {
	tick := time.NewTicker(k.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.Refresh()
		case <-ctx.Done():
			return
		}
	}
}

// Refresh reads the files if they have changed since the last read, or could not
// be used then: while one file of a pair is replaced, the pair does not match.
func (k *Keeper) Refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, err := k.opts.look(); err == nil && k.flaw == "" && now.same(k.seen) {
		return
	}
	err := k.load()
	switch {
	case err == nil:
		k.flaw = ""
		k.opts.Logger.Info("certificate loaded", "listener", k.opts.Listener, "expires", time.Unix(k.notAfter.Load(), 0).UTC())
	case err.Error() != k.flaw: // logged once
		k.flaw = err.Error()
		k.failures.Add(1)
		k.opts.Logger.Error("the new certificate cannot be used; the old one stays", "listener", k.opts.Listener, "error", err)
	}
}

// load puts the files into use. It takes their state before it reads them, so
// that it sees a change in between the next time.
func (k *Keeper) load() error {
	seen, err := k.opts.look()
	if err != nil {
		return err
	}
	m, err := k.opts.load()
	if err != nil {
		return err
	}
	expires := m.cert.Leaf.NotAfter
	if time.Now().After(expires) {
		k.opts.Logger.Warn("the certificate has expired", "listener", k.opts.Listener, "expired", expires)
	}
	k.seen = seen
	k.notAfter.Store(expires.Unix())
	k.loads.Add(1)
	k.current.Store(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   k.opts.Protocols,
		Certificates: []tls.Certificate{m.cert},
		ClientAuth:   k.opts.ClientAuth,
		ClientCAs:    m.cas,
	})
	return nil
}

// Stats is a snapshot for metrics.
type Stats struct {
	NotAfter time.Time // when the certificate in use expires
	Loads    uint64    // certificates that came into use, the first one included
	Failures uint64    // changes of the files that could not be used
}

// Stats returns a snapshot.
func (k *Keeper) Stats() Stats {
	return Stats{NotAfter: time.Unix(k.notAfter.Load(), 0), Loads: k.loads.Load(), Failures: k.failures.Load()}
}

package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/watch"
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
	Logger    *slog.Logger // nil discards
}

// every is the time between two looks at the files.
const every = 5 * time.Second

// Reloader has the last files that could be used. Its methods may be called from
// any goroutine.
type Reloader struct {
	opts    Options
	config  *tls.Config // returned by Config; it uses current
	current atomic.Pointer[tls.Config]

	notAfter        atomic.Int64 // of the certificate in use, Unix seconds
	loads, failures atomic.Uint64

	mu    sync.Mutex // held during a look at the files
	files watch.Files

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open reads the files. Only Open returns their errors; later ones are logged.
func Open(o Options) (*Reloader, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reloader{opts: o, stop: func() {}}
	r.files = watch.Files{Names: o.names(), Load: r.load}
	r.config = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: o.Protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return r.current.Load(), nil
		},
	}
	if _, err := r.files.Look(); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", o.Listener, err)
	}
	return r, nil
}

// Config returns the configuration for a listener. Each handshake uses the
// certificate of its time. Package tls makes and rotates the keys of session
// tickets; they outlast a reload.
func (r *Reloader) Config() *tls.Config { return r.config }

// Start watches the files until Stop.
func (r *Reloader) Start() {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.done.Go(func() { watch.Every(ctx, every, r.Refresh) })
}

// Stop ends the watch and waits for it. The configuration stays usable.
func (r *Reloader) Stop() {
	r.stop()
	r.done.Wait()
}

// Refresh reads the files if they have changed since the last read, or could not
// be used then: while one file of a pair is replaced, the pair does not match.
func (r *Reloader) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	loaded, err := r.files.Look()
	switch {
	case err != nil:
		r.failures.Add(1)
		r.opts.Logger.Error("the new certificate cannot be used; the old one stays", "listener", r.opts.Listener, "error", err)
	case loaded:
		r.opts.Logger.Info("certificate loaded", "listener", r.opts.Listener, "expires", time.Unix(r.notAfter.Load(), 0).UTC())
	}
}

// load puts the files into use.
func (r *Reloader) load() error {
	m, err := r.opts.load()
	if err != nil {
		return err
	}
	expires := m.cert.Leaf.NotAfter
	if time.Now().After(expires) {
		r.opts.Logger.Warn("the certificate has expired", "listener", r.opts.Listener, "expired", expires)
	}
	r.notAfter.Store(expires.Unix())
	r.loads.Add(1)
	r.current.Store(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   r.opts.Protocols,
		Certificates: []tls.Certificate{m.cert},
		ClientAuth:   r.opts.ClientAuth,
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
func (r *Reloader) Stats() Stats {
	return Stats{NotAfter: time.Unix(r.notAfter.Load(), 0), Loads: r.loads.Load(), Failures: r.failures.Load()}
}

// Package app is the process as a value. New wires it, Start serves, Stop hands the
// devices over and closes the parts in reverse order. The caller keeps the signals that
// end it, and exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/certs"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/findings"
	"github.com/longwire/longwire/internal/metrics"
	"github.com/longwire/longwire/internal/private"
	"github.com/longwire/longwire/internal/simulator"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/version"
	"github.com/longwire/longwire/internal/vitals"
	"github.com/longwire/longwire/internal/webhook"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
	"github.com/longwire/longwire/tcpserver"
)

// App is one gateway process.
type App struct {
	cfg   *config.Config
	log   *slog.Logger
	store gateway.Store
	wheel *wheel.Wheel
	gw    *gateway.Gateway
	tcp   *tcpserver.Server
	http  *api.Server
	ln    net.Listener // the listener of http
	admin *admin       // nil when the store is in memory, or the socket failed

	auth     *deviceauth.Authenticator
	callers  *callers
	webhooks *webhook.Manager

	consumers *consumer.Manager
	timeline  *timeline.Book // nil when it is off

	vitals   *vitals.Recorder
	findings *findings.Registry
	unread   unreadUplinks
	comeback comeback
	sync     syncTime
	levels   atomic.Pointer[thresholds]
	onsets   onsets

	simulatedToken string               // "" if the settings forbid simulated devices
	simulator      *simulator.Simulator // nil without the token

	tcpCerts, httpCerts *certs.Reloader // nil without TLS

	now   func() time.Time // the clock of all parts: time.Now outside of tests
	jumps clockWatch

	opened   cleanups      // closes the parts, in the reverse order of open
	patience time.Duration // that the parts have to close, at least
	draining chan struct{}
	drainNow func()
	serving  sync.WaitGroup
	failed   chan error // the first failure of each listener; capacity for both
}

// New opens the store and binds both listeners. It serves nothing before Start.
// Stop releases everything, even if Start was not called.
func New(cfg *config.Config, log *slog.Logger) (*App, error) { return newApp(cfg, log, time.Now) }

func newApp(cfg *config.Config, log *slog.Logger, now func() time.Time) (*App, error) {
	a := &App{cfg: cfg, log: log, now: now, draining: make(chan struct{}), failed: make(chan error, 2), patience: 5 * time.Second}
	a.watchClock() // the first look; the next one compares with it
	if cfg.MaySimulate() {
		a.simulatedToken = simulator.NewToken()
	}
	a.drainNow = sync.OnceFunc(func() { close(a.draining) })
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.opened.run())
	}
	return a, nil
}

// open wires the parts from the store outwards. Each part that is open has a step in
// a.opened, also when open fails.
func (a *App) open() (err error) {
	cfg := a.cfg
	if a.store, err = openStore(cfg, a.now, a.log); err != nil {
		return err
	}
	a.opened.add("store", a.store.Close)
	if err = a.openCallers(); err != nil {
		return err
	}
	a.openAdmin()
	if err = a.openCerts(); err != nil {
		return err
	}
	if err = a.openAuth(); err != nil {
		return err
	}
	for _, wide := range private.Examine(cfg.PrivateFiles()) {
		wide.Log(a.log)
	}
	a.wheel = wheel.New()
	a.wheel.Start()
	a.opened.addQuiet("wheel", a.wheel.Stop)
	a.openTimeline()
	a.gw = gateway.New(a.gatewayConfig())
	a.gw.Start()
	a.opened.addQuiet("gateway", a.gw.Stop)
	a.opened.addQuiet("goroutines", a.serving.Wait) // the listeners are closed, and the drain has begun
	a.auth.Start()
	if a.tcp, err = tcpserver.New(a.tcpConfig()); err != nil {
		return err
	}
	a.opened.addQuiet("device server", func() { a.tcp.Close() })
	if a.ln, err = net.Listen("tcp", cfg.HTTP.Addr); err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	a.opened.addQuiet("HTTP listener", func() { a.ln.Close() })
	if err = a.openWebhooks(); err != nil {
		return err
	}
	a.openFindings()
	a.openSimulator()
	a.http = api.NewServer(a.apiConfig())
	a.opened.addQuiet("API server", func() { a.http.Close() })
	a.ln = tcpserver.ProxyListener(a.http.Bound(a.ln), trustedProxies(cfg.HTTP.ProxyTrusted), cfg.HTTP.ReadHeaderTimeout.Std())
	a.http.ReadHeaderTimeout = cfg.HTTP.ReadHeaderTimeout.Std()
	a.http.IdleTimeout = cfg.HTTP.IdleTimeout.Std()
	a.http.MaxHeaderBytes = int(cfg.HTTP.MaxHeader)
	return nil
}

func (a *App) gatewayConfig() gateway.Config {
	c := a.cfg
	out := gateway.Config{
		Store:            a.store,
		Authenticate:     a.authenticate,
		GuardedGroups:    a.callers.keys.GuardedGroups,
		DeviceGroups:     c.Auth.DeviceGroups,
		AccountOf:        func(id gateway.ClientID, groups []string) string { return a.callers.keys.AccountOf(string(id), groups) },
		NewID:            newID,
		Now:              a.now,
		DefaultTTL:       c.Delivery.DefaultTTL.Std(),
		OnlineWait:       c.Delivery.OnlineWait.Std(),
		MaxAttempts:      c.Delivery.MaxAttempts,
		RejectTwins:      c.TCP.DuplicateID == config.RejectDuplicate,
		EventBuffer:      c.Events.Buffer,
		EventBufferBytes: int(c.Events.BufferBytes),
		Logger:           a.log,
	}
	if a.timeline != nil {
		out.Steps = a.timeline
	}
	return out
}

func init() {
	uuid.EnableRandPool() // ids are names and guard nothing; a system call for each would cost time
}

// newID returns a UUIDv7. Reading random bytes does not fail on the platforms
// that Go supports.
func newID() [16]byte { return uuid.Must(uuid.NewV7()) }

func (a *App) tcpConfig() tcpserver.Config {
	c := a.cfg.TCP
	limit := memoryLimit(c.MemoryLimit, os.DirFS("/"))
	out := tcpserver.Config{
		Addr:   c.Addr,
		Driver: tcpserver.Driver(c.Driver),
		Protocol: protocol.Config{
			Heartbeat:       c.Heartbeat.Std(),
			MaxHeartbeat:    c.MaxHeartbeat.Std(),
			Grace:           c.Grace.Std(),
			RegisterTimeout: c.RegisterTimeout.Std(),
			AckTimeout:      c.AckTimeout.Std(),
			V1AckTimeout:    c.V1AckTimeout.Std(),
			V1Gap:           c.V1Gap.Std(),
			V1Token:         a.cfg.Auth.DeviceV1Token,
			Window:          c.Window,
			MaxPayload:      gateway.MaxPayload,
			Jitter:          randomUpTo,
		},
		Gateway:              a.gw,
		Wheel:                a.wheel,
		OutputBudget:         int(c.OutputBudget),
		OutputMemory:         outputMemory(c.OutputMemory, limit),
		InputBudget:          int(c.InputBudget),
		WriteTimeout:         c.WriteTimeout.Std(),
		MaxConns:             c.MaxConnections,
		MaxUnregistered:      c.MaxUnregistered,
		MaxUnregisteredPerIP: c.MaxUnregisteredPerIP,
		AcceptRates:          tcpserver.Rates{All: c.AcceptRate, PerSource: c.AcceptRatePerIP},
		HandshakeRates:       tcpserver.Rates{All: c.HandshakeRate, PerSource: c.HandshakeRatePerIP},
		RegisterRates:        tcpserver.Rates{All: c.RegisterRate, PerSource: c.RegisterRatePerIP},
		ClientMessageRate:    c.ClientMessageRate,
		ClientByteRate:       int(c.ClientByteRate),
		DeliveryRate:         c.DeliveryRate,
		DeliveryByteRate:     int(c.DeliveryByteRate),
		MemoryLimit:          limit,
		TLS:                  a.deviceTLS(),
		TLSRequired:          c.TLS == config.Required,
		ProxyTrusted:         trustedProxies(c.ProxyTrusted),
		Now:                  a.now,
		Unnamed:              a.gw.NoteUnnamed,
		Logger:               a.log,
	}
	if a.timeline != nil {
		out.Protocol.Frames, out.Observer = a.timeline, a.timeline
	}
	return out
}

func (a *App) apiConfig() api.Config {
	c := a.cfg
	m := metrics.New(metrics.Sources{Gateway: a.gw.Stats, TCP: a.tcpStats, Certs: a.certStats, Auth: a.authStats, Audit: a.callers.stats, HTTP: a.httpStats, Clock: a.clockStats,
		Hooks: func() metrics.WebhookStats { return metrics.WebhookStats(a.webhooks.Stats()) }, Timeline: a.timelineStats()})
	v := version.Get()
	out := api.Config{
		Gateway:     a.gw,
		Ready:       a.checks,
		Webhooks:    a.webhooks,
		Consumers:   a.consumers,
		Vitals:      a.vitals,
		Findings:    a.findings,
		UplinksRead: func() { a.unread.taken(a.gw.UplinkCount()) },
		Timeline:    a.timeline,
		Simulator:   a.simulator,
		DeviceAddr:  a.tcp.Addr().String(),
		Refusals:    refusals{a.auth, a.gw},
		Tokens:      a.tokenStore(),
		Version:     api.Version{Version: v.Version, Commit: v.Commit, Date: v.Date, Go: v.Go},
		Metrics:     m.Handler(),
		Recorder:    m,
		Logger:      a.log,
		AccessLog:   c.HTTP.AccessLog,
		Hosts:       c.HTTP.Hosts,
		// An operator that opens the API to a network without keys may list its
		// host names. Without a list the API answers to any name, because we cannot
		// know how callers reach it.
		AnyHost:     c.Insecure && !config.IsLoopback(c.HTTP.Addr) && len(c.HTTP.Hosts) == 0,
		MaxBody:     int64(c.HTTP.MaxBody),
		MaxWait:     c.HTTP.MaxWait.Std(),
		ReadTimeout: c.HTTP.ReadTimeout.Std(),
		Now:         a.now,
	}
	a.callers.restrict(&out, c.HTTP, c.TCP.MaxConnections)
	return out
}

func (a *App) httpStats() metrics.HTTPStats { return metrics.HTTPStats(a.http.Stats()) }

func (a *App) tcpStats() metrics.TCPStats { return metrics.TCPStats(a.tcp.Stats()) }

// checks returns the checks that /readyz shows.
func (a *App) checks() []api.Check {
	draining := error(nil)
	select {
	case <-a.draining:
		draining = errors.New("the gateway is shutting down")
	default:
	}
	health := a.store.Health()
	if health != nil {
		health = errors.New(causeOf(health))
	}
	return []api.Check{{Name: "store", Err: health}, {Name: "accepting", Err: draining}}
}

// Start serves and returns at once. Failed reports a listener that dies.
func (a *App) Start() {
	if a.admin != nil {
		a.admin.start()
	}
	a.serving.Go(func() {
		if err := a.tcp.Serve(); err != nil {
			a.failed <- fmt.Errorf("serve devices: %w", err)
		}
	})
	a.serving.Go(func() {
		if err := a.serveHTTP(a.ln); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	})
	a.webhooks.Start()
	a.serving.Go(a.tick)
	a.serving.Go(func() { a.sync.measure(a.draining) })
	a.serving.Go(func() { a.comeback.run(a.draining) })
	notifySystemd("READY=1")
}

// Failed delivers the error of a listener that died.
func (a *App) Failed() <-chan error { return a.failed }

// TCPAddr and HTTPAddr return the addresses on which the process listens.
func (a *App) TCPAddr() net.Addr  { return a.tcp.Addr() }
func (a *App) HTTPAddr() net.Addr { return a.ln.Addr() }

// Stop drains the gateway and ends the process's work within drain.timeout. First
// /readyz turns red and drain.delay passes, so that load balancers choose other
// nodes. Then the gateway accepts no new message and answers the callers that wait.
// Devices finish their acks and get a CLOSE with the time to come back. Finally the
// store is flushed. The end of ctx cuts every step short.
func (a *App) Stop(ctx context.Context) error {
	notifySystemd("STOPPING=1")
	a.drainNow()
	select {
	case <-time.After(a.cfg.Drain.Delay.Std()):
	case <-ctx.Done():
	}
	if a.simulator != nil {
		a.simulator.Close() // the drain need not wait for its devices
	}
	a.gw.Drain()
	a.http.BeginDrain()

	ctx, cancel := context.WithTimeout(ctx, a.cfg.Drain.Timeout.Std())
	defer cancel()
	spread := a.cfg.Drain.RetrySpread.Std()
	if spread == 0 {
		spread = -1 // at once; 0 would be the default
	}
	if err := a.tcp.Drain(ctx, tcpserver.DrainOptions{RetrySpread: spread}); err != nil {
		a.log.Warn("some devices were cut off", "cause", err)
	}
	callers := a.http.Drain(ctx)
	if callers.CutOff > 0 {
		a.log.Warn("some HTTP callers were cut off without an answer", "callers", callers.CutOff)
	}
	a.log.Info("drained", "callers_answered", callers.Answered, "callers_refused", callers.Refused,
		"devices_closed", a.tcp.Stats().Closed[protocol.ReasonShutdown])
	left := a.patience
	if end, ok := ctx.Deadline(); ok {
		left = max(left, time.Until(end))
	}
	return a.opened.runWithin(left)
}

// Run serves until ctx ends, then stops. It writes the addresses and first commands
// to out. `longwire serve` consists of Run.
func Run(ctx context.Context, cfg *config.Config, out io.Writer) error {
	// The process outlives the program that reads its log. The signal still ends other
	// commands, as in `longwire clients | head`.
	signal.Ignore(syscall.SIGPIPE)
	log, lines := newLogger(cfg)
	defer lines.Close()
	slog.SetDefault(log)
	a, err := New(cfg, log)
	if err != nil {
		return err
	}
	addProcs() // its parts have counted the CPUs
	a.Start()
	a.greet(out)
	var failure error
	select {
	case <-ctx.Done():
		log.Info("draining", "online", a.gw.Stats().Online)
	case failure = <-a.Failed():
		log.Error("stopping", "cause", failure)
	}
	stopErr := a.Stop(context.WithoutCancel(ctx))
	if stopErr == nil && failure == nil {
		log.Info("stopped")
	}
	return errors.Join(failure, stopErr)
}

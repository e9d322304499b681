package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/longwire/longwire/protocol"
)

// chatty is the largest number of devices whose events are printed one by one.
const chatty = 20

// connectFlags are the options of connect as typed.
type connectFlags struct {
	id, dialect, ack string
	count, limit     int
	rate             float64
	labels           []string
	quiet            bool
	tls              tlsFlags
	cfg              deviceConfig
}

func (e *environ) connectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Run a simulated device, or thousands",
		Long: `Connect as a device and print the messages that it receives. The device sends each
typed line as data. With --ack manual these lines are answers instead:

  ack [SEQ [RESULT]]    confirm a message, the oldest unanswered one without SEQ
  nak [SEQ [REASON]]    reject it
  retry [SEQ]           ask for it again later

With --count the devices are called ID-1, ID-2 and so on, and each of them sends
the typed lines. The command runs until an interrupt, until --limit, or until the
server closes a connection with a reason not to return. The end of standard input
does not end it.`,
		Example: `  longwire connect --id demo
  longwire connect --id slow --ack auto --latency 2s --label model=x2
  longwire connect --id load --count 1000 --dialect v1
  longwire connect --id demo --addr gateway.example:6666 --tls`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return e.connect(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.id, "id", "demo", "client id, 1 to 128 of A-Z a-z 0-9 . _ : @ -")
	fl.StringVar(&f.cfg.Addr, "addr", "127.0.0.1:6666", "the gateway's address for devices")
	f.tls.add(fl)
	fl.StringVar(&f.dialect, "dialect", "v2", "v1, v2 or text")
	fl.IntVar(&f.count, "count", 1, "how many devices, called ID-1, ID-2, …")
	fl.Float64Var(&f.rate, "rate", 500, "new connections per second with --count")
	fl.StringVar(&f.ack, "ack", "auto", "auto, manual, never or reject")
	fl.StringVar(&f.cfg.result, "result", "", "answer to send with each ack (v2 and text)")
	durationVar(fl, &f.cfg.latency, "latency", 0, "pause before each answer")
	fl.StringVar(&f.cfg.Token, "token", "", "device token")
	fl.StringArrayVar(&f.labels, "label", nil, "what the device reports of itself, name=value (repeat; v2)")
	fl.StringArrayVar(&f.cfg.Groups, "group", nil, "group to ask for; the gateway decides and does not answer (repeat; v2)")
	durationVar(fl, &f.cfg.Heartbeat, "heartbeat", 0, "proposed heartbeat, 1s to 1h (v2 and text)")
	fl.IntVar(&f.cfg.Window, "window", 0, "allowed unacked messages, 1 to 256 (v2)")
	fl.BoolVar(&f.cfg.reconnect, "reconnect", true, "connect again after a lost connection; with --reconnect=false exit with 1")
	countVar(fl, &f.limit, "limit", 0, "end after this number of answered messages in all, 0 for never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, fmt.Sprintf("print totals only (the default for more than %d devices)", chatty))
	cmd.RegisterFlagCompletionFunc("dialect", cobra.FixedCompletions([]string{"v1", "v2", "text"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("ack", cobra.FixedCompletions([]string{"auto", "manual", "never", "reject"}, cobra.ShellCompDirectiveNoFileComp))
	e.outputFlag(cmd)
	return cmd
}

// check completes the configuration from the flags.
func (f *connectFlags) check() (err error) {
	var ok bool
	if f.cfg.Dialect, ok = protocol.ParseDialect(f.dialect); !ok {
		return usagef("--dialect %q: want v1, v2 or text", f.dialect)
	}
	switch f.cfg.ack = ackPolicy(f.ack); f.cfg.ack {
	case ackAuto, ackManual, ackNever, ackReject:
	default:
		return usagef("--ack %q: want auto, manual, never or reject", f.ack)
	}
	if !f.cfg.Dialect.Rejects() && f.cfg.ack == ackReject {
		return usagef("--ack reject: the %s dialect has no word for no; use never, or another dialect", f.cfg.Dialect)
	}
	if err := f.checkCarried(); err != nil {
		return err
	}
	if f.count < 1 || !(f.rate > 0) { // not NaN either
		return usagef("--count and --rate must be above 0")
	}
	if _, _, err := net.SplitHostPort(f.cfg.Addr); err != nil {
		return usagef("--addr %q: want host:port", f.cfg.Addr)
	}
	if f.cfg.Dial, err = f.tls.dialer(); err != nil {
		return err
	}
	f.cfg.Labels, err = parsePairs("label", f.labels)
	return err
}

// checkCarried refuses the flags whose value the dialect cannot carry.
func (f *connectFlags) checkCarried() error {
	r, v2, text := &f.cfg, []protocol.Dialect{protocol.V2}, []protocol.Dialect{protocol.V2, protocol.Text}
	for _, o := range []struct {
		flag     string
		set      bool
		dialects []protocol.Dialect
	}{
		{"label", len(f.labels) > 0, v2},
		{"group", len(r.Groups) > 0, v2},
		{"window", r.Window != 0, v2},
		{"heartbeat", r.Heartbeat != 0, text},
		{"result", f.cfg.result != "", text},
	} {
		if o.set && !slices.Contains(o.dialects, f.cfg.Dialect) {
			return usagef("--%s: the %s dialect does not carry it; use --dialect v2", o.flag, f.cfg.Dialect)
		}
	}
	return nil
}

// fleet holds the devices of one command and their totals.
type fleet struct {
	e       *environ
	quiet   bool
	devices []*device
	bar     *progressbar.ProgressBar // nil unless standard error is a terminal
	limit   int
	enough  context.CancelFunc // called when answered reaches limit

	mu       sync.Mutex // guards the fields below and the output
	online   map[string]bool
	received int
	answered int
	stored   int
	lost     int
}

func (e *environ) connect(ctx context.Context, f connectFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fl := &fleet{e: e, quiet: f.quiet || f.count > chatty, limit: f.limit, enough: cancel, online: make(map[string]bool)}
	cfg := f.cfg
	cfg.report = fl.report
	for i := range f.count {
		id := f.id
		if f.count > 1 {
			id = fmt.Sprintf("%s-%d", f.id, i+1)
		}
		d, err := newDevice(cfg, id)
		if err != nil {
			return err
		}
		fl.devices = append(fl.devices, d)
	}
	if fl.quiet && f.count > 1 && isTerminal(e.err) {
		fl.bar = progressbar.NewOptions(f.count, progressbar.OptionSetWriter(e.err), progressbar.OptionSetDescription("connecting"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	return fl.run(ctx, rate.Limit(f.rate))
}

// run starts all devices and waits for their end. A read of standard input cannot
// be interrupted, so the goroutine of relay lives until the process ends.
func (fl *fleet) run(ctx context.Context, perSecond rate.Limit) error {
	go fl.relay(ctx)
	var wg sync.WaitGroup
	errs := make(chan error, len(fl.devices))
	limiter := rate.NewLimiter(perSecond, 1)
	for _, d := range fl.devices {
		if limiter.Wait(ctx) != nil {
			break
		}
		wg.Go(func() { errs <- d.run(ctx) })
	}
	stopTotals := make(chan struct{})
	var totals sync.WaitGroup
	if fl.quiet {
		totals.Go(func() { fl.reportTotals(stopTotals) })
	}
	wg.Wait()
	close(stopTotals)
	totals.Wait()
	close(errs)
	return fl.verdict(errs)
}

// verdict returns the first device's error and the number of devices with one.
func (fl *fleet) verdict(errs <-chan error) error {
	var first error
	n := 0
	for err := range errs {
		if err == nil {
			continue
		}
		if n++; first == nil {
			first = err
		}
	}
	if op, ok := errors.AsType[*net.OpError](first); ok && op.Op == "dial" {
		first = fmt.Errorf("cannot reach %s: %w; %s", fl.devices[0].Addr, op.Err, adviceDial)
	}
	if n > 1 {
		return fmt.Errorf("%d of %d devices ended: %w", n, len(fl.devices), first)
	}
	return first
}

const reportEvery = 5 * time.Second

// reportTotals prints the totals when they have changed, at most every reportEvery,
// and at the end.
func (fl *fleet) reportTotals(stop <-chan struct{}) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	last := ""
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-stop:
			ended = true
		}
		fl.mu.Lock()
		if s := fl.totalsLocked(); s != last {
			last = s
			fmt.Fprintln(fl.e.out, s)
		}
		fl.mu.Unlock()
	}
}

// totalsLocked returns the totals as one line.
func (fl *fleet) totalsLocked() string {
	if fl.e.json() {
		return fmt.Sprintf(`{"online":%d,"devices":%d,"received":%d,"answered":%d,"stored":%d,"lost":%d}`,
			len(fl.online), len(fl.devices), fl.received, fl.answered, fl.stored, fl.lost)
	}
	return fmt.Sprintf("%d of %d online, %d received, %d answered, %d uplinks stored, %d connections lost",
		len(fl.online), len(fl.devices), fl.received, fl.answered, fl.stored, fl.lost)
}

// report counts and prints an event of a device.
func (fl *fleet) report(ev deviceEvent) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	switch ev.kind {
	case "connected":
		fl.online[ev.client] = true
		if fl.bar != nil && !fl.bar.IsFinished() {
			fl.bar.Set(len(fl.online))
		}
	case "closed":
		if fl.online[ev.client] {
			fl.lost++
		}
		delete(fl.online, ev.client)
	case "left":
		delete(fl.online, ev.client)
	case "received":
		fl.received++
	case "stored":
		fl.stored++
	case "answered":
		if fl.answered++; fl.answered == fl.limit {
			fl.enough()
		}
	}
	if !fl.quiet {
		fl.printLocked(ev)
	}
}

// printLocked shows one event.
func (fl *fleet) printLocked(ev deviceEvent) {
	e := fl.e
	if e.json() {
		e.printJSON(struct {
			Time   time.Time `json:"time"`
			Client string    `json:"client"`
			Event  string    `json:"event"`
			Seq    string    `json:"seq,omitempty"`
			Text   string    `json:"text,omitempty"`
			Again  bool      `json:"again,omitempty"`
		}{time.Now().UTC(), ev.client, ev.kind, ev.seq, ev.text, ev.again})
		return
	}
	words := []string{time.Now().Format("15:04:05.000"), ev.client, fmt.Sprintf("%-9s", ev.kind)}
	if ev.seq != "" {
		words = append(words, ev.seq)
	}
	if ev.text != "" {
		words = append(words, clip(printable(ev.text), 400))
	}
	if ev.again {
		words = append(words, "(again)")
	}
	fmt.Fprintln(e.out, strings.TrimRight(strings.Join(words, "  "), " "))
}

// relay passes typed lines to the devices until ctx or the input ends.
func (fl *fleet) relay(ctx context.Context) {
	in := bufio.NewReader(fl.e.in)
	var line string
	var err error
	for err == nil && ctx.Err() == nil {
		var long bool
		line, long, err = nextLine(in, maxPayload)
		if long {
			fmt.Fprintf(fl.e.err, "longwire: standard input: a line is longer than %d bytes, and is not sent\n", maxPayload)
			continue
		}
		if line == "" {
			continue
		}
		c := parseTyped(line, fl.devices[0].ack == ackManual)
		for _, d := range fl.devices {
			if c.uplink != nil {
				d.send(ctx, c.uplink)
			} else {
				d.answer(c)
			}
		}
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		fmt.Fprintf(fl.e.err, "longwire: standard input: %s\n", oneLine(err.Error()))
	}
}

// nextLine reads a line without its end, LF or CRLF. It skips one of more than limit
// bytes, and reports it as long. A last line may come with an error.
func nextLine(in *bufio.Reader, limit int) (line string, long bool, err error) {
	var b []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(b) <= limit { // the rest of a longer line is dropped
			b = append(b, part...)
		}
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\r'})
			return string(b), len(b) > limit, err
		}
	}
}

// parseTyped parses one line: an answer if a person gives the answers, else data to
// send.
func parseTyped(line string, manual bool) command {
	word, rest, _ := strings.Cut(line, " ")
	codes := map[string]protocol.AckCode{"ack": protocol.AckOK, "nak": protocol.AckReject, "retry": protocol.AckRetry}
	code, ok := codes[word]
	if !manual || !ok {
		return command{uplink: []byte(line)}
	}
	seq, result, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return command{seq: seq, code: code, result: []byte(result)}
}

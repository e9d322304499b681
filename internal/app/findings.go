package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/findings"
	"github.com/longwire/longwire/internal/vitals"
	"github.com/longwire/longwire/internal/webhook"
)

// thresholds are the bounds from which on something is a finding.
type thresholds struct {
	fullShare     float64       // of a limit, and of the budget of the disk
	freeShare     float64       // of the file system that is free at least
	freeBytes     int64         // or so many bytes are free
	refusedFor    time.Duration // a refused device counts after its last attempt
	manyDevices   int           // from so many on, devices are a warning
	queueAge      time.Duration
	unreadAge     time.Duration
	bigStep       time.Duration // of the clock
	consumerLag   uint64        // events
	certificate   time.Duration // before the end
	certificateAt time.Duration // before the end, when it is critical
	key           time.Duration // before the end
}

func defaultThresholds() *thresholds {
	return &thresholds{fullShare: 0.9, freeShare: 0.1, freeBytes: 10 << 30, refusedFor: time.Hour, manyDevices: 10,
		queueAge: time.Hour, unreadAge: 10 * time.Minute, bigStep: time.Minute, consumerLag: 10_000,
		certificate: 14 * 24 * time.Hour, certificateAt: 2 * 24 * time.Hour, key: 7 * 24 * time.Hour}
}

// openFindings begins the history and adds the sources of findings. All parts but the
// API are open.
func (a *App) openFindings() {
	a.vitals = vitals.Of(a.gw, a.now)
	a.levels.Store(defaultThresholds())
	a.sync.once = timeSync
	if a.cfg.Data.Engine == config.EnginePebble {
		a.sync.dir = a.cfg.Data.Dir
	}
	a.comeback.open(a.store, a.now)
	a.findings = findings.New(a.now, a.storeFindings, a.clockFindings, a.startFindings, a.hookFindings, a.deviceFindings, a.uplinkFindings,
		a.webhookFindings, a.consumerFindings, a.certificateFindings, a.keyFindings, a.limitFindings, a.traceFindings, a.onsets.end)
}

// lookEvery is how often the sources of findings are asked without a caller.
const lookEvery = 10 * time.Second

// look is the part of each second's tick for the history and the uplinks.
func (a *App) look() {
	a.vitals.Tick()
	a.unread.look(a.gw.UplinkCount(), a.takeUplinks, a.now())
}

// onsets remembers the beginnings of conditions that have no time of their own. The
// registry asks one source after the other, in rounds.
type onsets struct {
	before, round map[string]time.Time // as the last round left them, and those of this one
}

// of returns when a condition began to hold, as the sources have seen it. A source calls it
// in each round in which the condition holds.
func (o *onsets) of(condition string, now time.Time) time.Time {
	at, ok := o.before[condition]
	if !ok {
		at = now
	}
	if o.round == nil {
		o.round = make(map[string]time.Time)
	}
	o.round[condition] = at
	return at
}

// end is the last source of a round: it forgets the conditions that hold no more.
func (o *onsets) end() []findings.Finding {
	o.before, o.round = o.round, nil
	return nil
}

// since returns when a condition began to hold.
func (a *App) since(condition string) time.Time { return a.onsets.of(condition, a.now().Round(0)) }

// lasting returns the finding if its condition holds, since the first time that it was
// seen to hold.
func (a *App) lasting(holds bool, f findings.Finding) []findings.Finding {
	if !holds {
		return nil
	}
	f.Since = a.since(string(f.Code))
	return []findings.Finding{f}
}

func (a *App) storeFindings() (all []findings.Finding) {
	s, health := a.store.Stats(), a.store.Health()
	cause := ""
	if health != nil {
		cause = causeOf(health)
	}
	all = a.lasting(health != nil, findings.Finding{Code: findings.StoreUnavailable, Severity: findings.Critical, Count: 1,
		Facts: map[string]any{"cause": cause}, Link: "/readyz"})
	all = append(all, a.diskFindings(&s)...)
	if dir := a.sync.dir; dir != "" {
		all = append(all, repaired(filepath.Join(dir, "quarantine"))...)
	}
	p50 := time.Duration(a.sync.p50.Load())
	all = append(all, a.lasting(p50 > 0 && p50 < tooFast, findings.Finding{Code: findings.SyncTooFast, Severity: findings.Warning, Count: 1,
		Facts: map[string]any{"p50_us": float64(p50.Round(100*time.Nanosecond)) / 1000}})...)
	waits := !s.OldestAt.IsZero() && a.now().Round(0).Sub(s.OldestAt) > a.levels.Load().queueAge
	if waits {
		all = append(all, findings.Finding{Code: findings.QueueOld, Severity: findings.Info, Since: s.OldestAt.Add(a.levels.Load().queueAge), Count: s.Queued,
			Facts: map[string]any{"oldest_at": s.OldestAt.UTC().Format(time.RFC3339)}, Link: "/v1/messages?status=queued"})
	}
	return all
}

// causeOf returns the innermost cause of an error that the store reports.
func causeOf(err error) string {
	for {
		e, ok := errors.AsType[*gateway.Error](err)
		if !ok || e.Cause == nil {
			return err.Error()
		}
		err = e.Cause
	}
}

func (a *App) diskFindings(s *gateway.StoreStats) []findings.Finding {
	least := int64(float64(s.DiskTotal) * a.levels.Load().freeShare)
	budget := int64(a.cfg.Data.MaxDisk)
	low := s.DiskTotal > 0 && s.DiskFree < min(least, a.levels.Load().freeBytes)
	over := budget > 0 && float64(s.DiskBytes) > float64(budget)*a.levels.Load().fullShare
	f := findings.Finding{Code: findings.DiskNearlyFull, Severity: findings.Warning, Count: 1, Link: "/v1/stats",
		Facts: map[string]any{"used_bytes": s.DiskBytes, "free_bytes": s.DiskFree, "total_bytes": s.DiskTotal}}
	if budget > 0 {
		f.Facts["limit_bytes"] = budget
	}
	if s.DiskTotal > 0 && s.DiskFree < int64(a.cfg.Data.MinFree) || budget > 0 && s.DiskBytes > budget {
		f.Severity = findings.Critical
	}
	return a.lasting(low || over || f.Severity == findings.Critical, f)
}

// repaired finds the files that a repair has put aside. The operator removes them when
// the loss is dealt with.
func repaired(dir string) []findings.Finding {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(1000)
	if len(names) == 0 {
		return nil
	}
	f := findings.Finding{Code: findings.StoreRepaired, Severity: findings.Warning, Count: len(names), Facts: map[string]any{"directory": "quarantine"}}
	if info, err := d.Stat(); err == nil {
		f.Since = info.ModTime()
	}
	return []findings.Finding{f}
}

func (a *App) clockFindings() []findings.Finding {
	by, at := a.vitals.ClockOff()
	if by.Abs() < a.levels.Load().bigStep {
		return nil
	}
	f := findings.Finding{Code: findings.ClockStep, Severity: findings.Info, Since: at, Count: 1, Link: "/v1/stats/history",
		Facts: map[string]any{"by_seconds": by.Seconds(), "at": at.UTC().Format(time.RFC3339)}}
	if by.Abs() >= bigJump {
		f.Severity = findings.Warning
	}
	return []findings.Finding{f}
}

func (a *App) hookFindings() []findings.Finding {
	o, ok := a.auth.HookOutage()
	if !ok {
		return nil
	}
	f := findings.Finding{Code: findings.AuthHookFailing, Severity: findings.Warning, Since: o.Since.Round(0), Count: o.Devices,
		Facts: map[string]any{"last_error": o.LastError, "registrations": o.Registrations}}
	if o.Open && !o.Monitor {
		f.Severity = findings.Critical // no device gets an answer
	}
	if o.Client != "" {
		f.Facts["client"] = string(o.Client)
	}
	return []findings.Finding{f}
}

func (a *App) deviceFindings() (all []findings.Finding) {
	now := a.now()
	var refused []findings.Client
	for _, d := range (refusals{a.auth, a.gw}).Refused() {
		if now.Round(0).Sub(d.LastAt.Round(0)) <= a.levels.Load().refusedFor {
			refused = append(refused, findings.Client{ID: string(d.Client), Since: d.FirstAt, Last: d.LastAt, Reason: d.Reason})
		}
	}
	all = a.unnamedFindings(now.Round(0))
	for _, f := range []struct {
		code    findings.Code
		many    int // from which on they are a warning
		link    string
		clients []findings.Client
	}{
		{findings.DevicesRefused, 1, "/v1/refused", refused},
		{findings.ClientsFlapping, 1, "", unstable(a.gw.Flapping())},
		{findings.DuplicateIDs, 1, "", unstable(a.gw.Conflicts())},
		{findings.DevicesSilent, a.levels.Load().manyDevices, "/v1/clients?status=offline", unstable(a.gw.Silent())}, // some devices always have no power
	} {
		if n := len(f.clients); n > 0 {
			all = append(all, findings.Finding{Code: f.code, Severity: findings.Info, Many: f.many, Count: n, Clients: f.clients, Link: f.link})
		}
	}
	return all
}

func (a *App) unnamedFindings(now time.Time) []findings.Finding {
	f := findings.Finding{Code: findings.RegistrationsInvalid, Severity: findings.Warning, Link: "/v1/refused"}
	for _, d := range a.gw.Unnamed() { // the latest first
		if now.Sub(d.LastAt) > a.levels.Load().refusedFor {
			break
		}
		if f.Count++; f.Count == 1 {
			f.Facts = map[string]any{"remote_addr": d.Remote.String(), "reason": d.Reason}
			if d.Sample != "" {
				f.Facts["sample"] = d.Sample
			}
		}
		if f.Since.IsZero() || d.FirstAt.Before(f.Since) {
			f.Since = d.FirstAt
		}
	}
	if f.Count == 0 {
		return nil
	}
	return []findings.Finding{f}
}

func unstable(list []gateway.Unstable) (clients []findings.Client) {
	for _, u := range list {
		clients = append(clients, findings.Client{ID: string(u.Client), Since: u.Since.Round(0), Last: u.Since.Round(0), Reason: u.Reason})
	}
	return clients
}

func (a *App) uplinkFindings() (all []findings.Finding) {
	var refused []findings.Client
	for _, r := range a.gw.UplinksRefused() {
		refused = append(refused, findings.Client{ID: string(r.Client), Since: r.FirstAt.Round(0), Last: r.LastAt.Round(0), Reason: r.Reason})
	}
	if len(refused) > 0 {
		all = append(all, findings.Finding{Code: findings.UplinksRefused, Severity: findings.Warning, Count: len(refused), Clients: refused})
	}
	n, since := a.unread.count()
	if n == 0 || since.IsZero() || a.now().Sub(since) < a.levels.Load().unreadAge {
		return all
	}
	return append(all, findings.Finding{Code: findings.UplinksUnread, Severity: findings.Info, Since: since.Round(0), Count: int(n), Link: "/v1/uplinks"})
}

func (a *App) webhookFindings() (all []findings.Finding) {
	for _, w := range a.webhooks.List(apikey.Limit{}) {
		f := findings.Finding{Count: 1, Owner: w.Limit.Owner(), Link: "/v1/webhooks/" + w.ID, Since: w.Failing, Severity: findings.Warning}
		disabled, active := w.Condition() == webhook.Disabled, w.Condition() == webhook.Active
		switch {
		case disabled:
			f.Code, f.Facts = findings.WebhookDisabled, map[string]any{"id": w.ID, "cause": string(w.Reason)}
			f.Severity, f.Since = findings.Critical, a.since(w.ID)
		case active && (w.Down || w.Forbidden):
			if f.Since.IsZero() {
				f.Since = a.since(w.ID)
			}
			f.Code, f.Facts = findings.WebhookFailing, map[string]any{"id": w.ID, "last_error": w.LastError, "lag": w.Lag}
		case active && w.Refused.Clients > 0:
			f.Code, f.Facts = findings.WebhookParked, map[string]any{"id": w.ID}
			f.Since, f.Count = w.Refused.Since, w.Refused.Clients
			for name, fact := range map[string]string{"client": string(w.Refused.Client), "last_error": w.Refused.Error} {
				if fact != "" {
					f.Facts[name] = fact
				}
			}
		default:
			continue
		}
		if w.Name != "" {
			f.Facts["name"] = w.Name
		}
		all = append(all, f)
	}
	return all
}

func (a *App) consumerFindings() (all []findings.Finding) {
	for _, c := range a.consumers.All() {
		if c.Lag < a.levels.Load().consumerLag {
			continue
		}
		since := a.since(fmt.Sprint("consumer ", c.Name, " of ", c.Limit.Owner(), c.CreatedAt)) // another one may have had its name
		all = append(all, findings.Finding{Code: findings.ConsumerBehind, Severity: findings.Warning, Since: since, Count: 1, Owner: c.Limit.Owner(),
			Facts: map[string]any{"name": c.Name, "lag": c.Lag}, Link: "/v1/consumers/" + c.Name})
	}
	return all
}

func (a *App) certificateFindings() (all []findings.Finding) {
	now := a.now().Round(0)
	for listener, c := range a.certStats() {
		left := c.NotAfter.Sub(now)
		if left > a.levels.Load().certificate {
			continue
		}
		f := findings.Finding{Code: findings.CertificateExpiring, Severity: findings.Warning, Since: c.NotAfter.Add(-a.levels.Load().certificate), Count: 1,
			Facts: map[string]any{"listener": listener, "expires_at": c.NotAfter.UTC().Format(time.RFC3339)}}
		if left <= a.levels.Load().certificateAt {
			f.Severity = findings.Critical
		}
		all = append(all, f)
	}
	return all
}

func (a *App) keyFindings() (all []findings.Finding) {
	now, early := a.now().Round(0), a.levels.Load().key
	for _, k := range a.callers.keys.List() {
		if k.ExpiresAt.IsZero() || !k.Alive(now) || k.ExpiresAt.Sub(now) > early {
			continue
		}
		since := k.ExpiresAt.Add(-early)
		if since.Before(k.CreatedAt) {
			since = k.CreatedAt
		}
		all = append(all, findings.Finding{Code: findings.KeyExpiring, Severity: findings.Warning, Since: since, Count: 1,
			Facts: map[string]any{"id": k.ID, "name": k.Name, "expires_at": k.ExpiresAt.UTC().Format(time.RFC3339)}, Link: "/v1/keys/" + k.ID})
	}
	return all
}

func (a *App) limitFindings() (all []findings.Finding) {
	for _, l := range []struct {
		code    findings.Code
		n, most int
		setting string
	}{
		{findings.ClientsFull, a.store.Stats().Clients, a.cfg.Clients.Max, "clients.max"},
		{findings.ConnectionsFull, a.tcp.Stats().Open, a.tcp.MaxConnections(), "tcp.max_connections"},
	} {
		f := findings.Finding{Code: l.code, Severity: findings.Warning, Count: l.n, Facts: map[string]any{"limit": l.most, "setting": l.setting}, Link: "/v1/stats"}
		if l.n >= l.most {
			f.Severity = findings.Critical
		}
		all = append(all, a.lasting(float64(l.n) >= float64(l.most)*a.levels.Load().fullShare, f)...)
	}
	return all
}

func (a *App) traceFindings() (all []findings.Finding) {
	if a.timeline == nil {
		return nil
	}
	for _, t := range a.timeline.Traces() {
		id, since := string(t.Client), t.StartedAt.Round(0)
		f := findings.Finding{Code: findings.TracesLeft, Severity: findings.Info, Count: 1, Clients: []findings.Client{{ID: id, Since: since, Last: since}},
			Facts: map[string]any{"ends_at": t.EndsAt.UTC().Format(time.RFC3339)}, Link: "/v1/traces"}
		if t.Name != "" {
			f.Facts["name"] = t.Name
		}
		all = append(all, f)
	}
	return all
}

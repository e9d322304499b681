// Package findings collects the problems that need an operator's attention. Parts of the gateway are
// sources; the registry asks them together, keeps the answers for some seconds and gives
// each caller the findings that it may see.
package findings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Severity is how urgent a finding is.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // the gateway does not do its work, or data is in danger
	Warning  Severity = "warning"  // it soon will not, or a part of it does not
	Info     Severity = "info"     // to be known
)

// severities begin with the worst.
var severities = []Severity{Critical, Warning, Info}

// Bounds of the answers.
const (
	maxShown    = 10              // clients that the facts of a finding name
	maxFindings = 200             // of one caller
	keepFor     = 5 * time.Second // the answers of the sources
)

// Finding is one thing that needs attention. A source returns a finding as long as its
// cause lasts.
type Finding struct {
	Code     Code
	Severity Severity
	Since    time.Time
	Count    int            // of the things that it is about
	Many     int            // from this Count on an Info is a Warning; 0 = from none on
	Facts    map[string]any // strings and numbers, by the names in the documentation
	Link     string         // of the API, to look closer
	Text     string         // set by the registry: the sentence in English

	// Clients are the clients that the finding is about. A limited caller sees the
	// finding if it may see one of them. Since, Count, the severity by Many and the
	// facts then describe only the clients that it may see. The registry sets the facts clients, client and reason.
	Clients []Client
	// Owner is the limit (apikey.Limit.Owner) that the thing belongs to, "" for none. A
	// finding without Clients is shown to callers without a limit, and to those with
	// this one.
	Owner string
	// Everyones is set for a finding about the process that says nothing about a client
	// or a thing. It is shown to callers with a limit, too.
	Everyones bool
}

// Client is one of the clients that a finding is about.
type Client struct {
	ID     string
	Since  time.Time
	Last   time.Time
	Reason string
}

// Source returns the findings of one part, quickly: without a walk over all clients.
type Source func() []Finding

// Caller is a caller of the API, with its rights.
type Caller struct {
	Allows func(scope string) bool
	Owner  string                   // of its limit, "" for none
	Sees   func(client string) bool // nil = all
	Most   int                      // clients of a finding that Sees is asked about, 0 = all
}

// Registry has the sources. Its methods may be called from any goroutine.
type Registry struct {
	now     func() time.Time
	sources []Source

	mu    sync.Mutex
	kept  []Finding
	asked time.Time // with a monotonic reading; zero = never
}

// New returns a registry that asks the sources in this order. A nil now is time.Now.
func New(now func() time.Time, sources ...Source) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{now: now, sources: sources}
}

// collect asks the sources, or returns their last answers if those are fresh.
func (r *Registry) collect() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if age := now.Sub(r.asked); !r.asked.IsZero() && age >= 0 && age < keepFor {
		return r.kept
	}
	r.refreshLocked(now)
	return r.kept
}

// Refresh asks the sources now. The owner calls it from time to time, so that a source
// sees the beginning of a condition that has no time of its own.
func (r *Registry) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refreshLocked(r.now())
}

func (r *Registry) refreshLocked(now time.Time) {
	var all []Finding
	for _, s := range r.sources {
		all = append(all, s()...)
	}
	for i := range all {
		if indexOf(all[i].Code) < 0 {
			panic("findings: no such code: " + string(all[i].Code))
		}
	}
	r.kept, r.asked = all, now
}

// List returns the findings that a caller may see, the worst first, among equals the
// oldest first, and those of one age in the order of the documentation and of their
// sentences. more counts the findings beyond the bound.
func (r *Registry) List(c Caller) (list []Finding, more int) {
	for _, f := range r.collect() {
		if !c.Allows(ScopeOf(f.Code)) || !c.narrow(&f) {
			continue
		}
		f.complete()
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(slices.Index(severities, a.Severity)-slices.Index(severities, b.Severity), a.Since.Compare(b.Since),
			indexOf(a.Code)-indexOf(b.Code), cmp.Compare(a.Text, b.Text))
	})
	if len(list) > maxFindings {
		more = len(list) - maxFindings
		list = list[:maxFindings]
	}
	return list, more
}

// narrow removes the clients from f that the caller may not see. It returns false if the
// caller may not see the finding.
func (c *Caller) narrow(f *Finding) bool {
	switch {
	case c.Owner == "" || f.Everyones:
		return true
	case f.Clients == nil:
		return f.Owner == c.Owner
	}
	var own []Client
	for i := range f.Clients {
		if c.Most > 0 && i == c.Most {
			break
		}
		if c.Sees == nil || c.Sees(f.Clients[i].ID) {
			own = append(own, f.Clients[i])
		}
	}
	f.Clients, f.Count = own, len(own)
	return len(own) > 0
}

// complete adds the facts about clients, and the sentence.
func (f *Finding) complete() {
	f.Facts = maps.Clone(f.Facts)
	if f.Facts == nil {
		f.Facts = map[string]any{}
	}
	if f.Many > 0 && f.Count >= f.Many {
		f.Severity = Warning
	}
	if len(f.Clients) > 0 {
		list := slices.Clone(f.Clients)
		slices.SortFunc(list, func(a, b Client) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.ID, b.ID)) })
		var ids []string
		f.Since = list[0].Since
		for i := range list {
			if i < maxShown {
				ids = append(ids, list[i].ID)
			}
			if list[i].Since.Before(f.Since) {
				f.Since = list[i].Since
			}
		}
		f.Facts["clients"], f.Facts["client"] = ids, list[0].ID
		if f.Link == "" {
			f.Link = "/v1/clients/" + list[0].ID
		}
		if list[0].Reason != "" {
			f.Facts["reason"] = list[0].Reason
		}
	}
	f.Text = f.sentence()
}

func (f *Finding) sentence() string {
	pairs := []string{"{count}", strconv.Itoa(f.Count)}
	for name, v := range f.Facts {
		text := fmt.Sprint(v)
		if n, ok := v.(int64); ok && strings.HasSuffix(name, "_bytes") {
			text = size(n)
		}
		pairs = append(pairs, "{"+name+"}", text)
	}
	text := kinds[indexOf(f.Code)].text
	switch {
	case f.Facts["limit_bytes"] != nil && f.Code == DiskNearlyFull:
		text = limitedText
	case f.Everyones && f.Code == JustStarted:
		text = uncountedText
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// size formats bytes for a person.
func size(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

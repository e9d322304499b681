package api

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/webhook"
)

// Webhook is an endpoint of a backend that gets events. Only the answers to its
// creation and to a rotation show the secret; the values of headers are never shown.
type Webhook struct {
	ID            string            `json:"id" validate:"required" example:"wh_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // names the webhook
	Name          string            `json:"name,omitempty" example:"orders"`                                          // for people
	URL           string            `json:"url" validate:"required" example:"https://backend.example/longwire"`       // that events are posted to
	Types         []string          `json:"types" validate:"required" example:"message.acked"`                        // of events; empty for all
	Client        string            `json:"client,omitempty" example:"truck-17"`                                      // events of this client
	Prefix        string            `json:"prefix,omitempty" example:"truck-"`                                        // of clients whose id starts so
	Group         string            `json:"group,omitempty" example:"fleet-a"`                                        // of members of this group
	Labels        map[string]string `json:"labels,omitempty"`                                                         // of clients with all these labels
	State         string            `json:"state" validate:"required" enums:"active,paused,disabled"`                 // whether it gets events
	Reason        string            `json:"reason,omitempty" example:"gone"`                                          // why it is disabled
	Timeout       string            `json:"timeout" validate:"required" example:"10s"`                                // of one request
	Concurrency   int               `json:"concurrency" validate:"required" example:"8"`                              // requests at once; the events of one client never overlap
	Headers       []string          `json:"headers" validate:"required" example:"Authorization"`                      // names of its static headers
	RetryFor      string            `json:"retry_for" validate:"required" example:"72h"`                              // after which an event that fails becomes a dead letter
	Settle        string            `json:"settle,omitempty" example:"30s"`                                           // a disconnect is told only if the client stays away for this long
	Reply         bool              `json:"reply,omitempty"`                                                          // the body of a 200 answer to message.received is pushed to the device
	Payloads      bool              `json:"payloads" validate:"required"`                                             // events carry payloads and results: the key that made it had messages:read
	CreatedAt     string            `json:"created_at" validate:"required" format:"date-time"`                        // when it was made
	Secret        string            `json:"secret,omitempty" example:"whsec_"`                                        // that requests are signed with
	Cursor        string            `json:"cursor" validate:"required" example:"1763800000000017"`                    // events up to it are done, but for those of parked clients
	LagEvents     uint64            `json:"lag_events" validate:"required"`                                           // at most so many events of the log lie behind the cursor
	LagSeconds    float64           `json:"lag_seconds" validate:"required"`                                          // age of the oldest event that waits
	Waiting       int               `json:"waiting" validate:"required"`                                              // events in memory
	ParkedClients int               `json:"parked_clients" validate:"required"`                                       // clients that wait for the retry of an event
	Down          bool              `json:"down,omitempty"`                                                           // no request has succeeded for a minute
	LastSuccessAt string            `json:"last_success_at,omitempty" format:"date-time"`                             // when a request has succeeded
	LastError     string            `json:"last_error,omitempty"`                                                     // of the last failure since, or why the address that the URL names is refused
	Missed        uint64            `json:"missed,omitempty"`                                                         // numbers of the log that were removed before they were read
} //@name Webhook

// WebhookList is the list of webhooks.
type WebhookList struct {
	Items []Webhook `json:"items" validate:"required"` // oldest first
} //@name WebhookList

// WebhookCreate asks for a webhook.
type WebhookCreate struct {
	Name        string            `json:"name,omitempty"`                                                                            // for people
	URL         string            `json:"url" validate:"required" example:"http://127.0.0.1:9000/hook"`                              // that events are posted to
	Types       []string          `json:"types,omitempty" validate:"omitempty,max=64" example:"message.received"`                    // of events, with wildcards such as client.*; none for all
	Client      *string           `json:"client,omitempty" validate:"omitempty,clientid"`                                            // events of this client alone
	Prefix      *string           `json:"prefix,omitempty" validate:"omitempty,clientid"`                                            // of clients whose id starts so
	Group       *string           `json:"group,omitempty" validate:"omitempty,group"`                                                // of members of this group
	Labels      map[string]string `json:"labels,omitempty" validate:"omitempty,max=32,dive,keys,labelkey,endkeys,bytes=256,max=256"` // of clients with all these labels
	State       string            `json:"state,omitempty" empty:"no" enums:"active,paused" default:"active"`                         // paused keeps it from starting
	Timeout     string            `json:"timeout,omitempty" empty:"no" default:"10s"`                                                // of one request: 1s to 30s
	Concurrency *int              `json:"concurrency,omitempty" minimum:"1" maximum:"64" default:"8"`                                // requests at once
	Headers     map[string]string `json:"headers,omitempty"`                                                                         // static headers of each request; they are not shown again
	RetryFor    string            `json:"retry_for,omitempty" empty:"no" default:"72h"`                                              // 1m to 30d
	Settle      string            `json:"settle,omitempty" empty:"no" example:"30s"`                                                 // at most 10m
	Reply       bool              `json:"reply,omitempty"`                                                                           // push the body of a 200 answer to message.received to the device
	Start       string            `json:"start,omitempty" empty:"no" default:"now" example:"earliest"`                               // now, earliest, a cursor, a time, or a duration such as 1h ago
} //@name WebhookCreate

// WebhookPatch changes a webhook; absent members stay as they are.
type WebhookPatch struct {
	Name        *string            `json:"name,omitempty"`                                                                                                        // for people
	URL         *string            `json:"url,omitempty"`                                                                                                         // that events are posted to
	Types       *[]string          `json:"types,omitempty" validate:"omitempty,max=64" swaggertype:"array,string"`                                                // of events
	Client      *string            `json:"client,omitempty" validate:"omitempty,anyclientid"`                                                                     // "" for all
	Prefix      *string            `json:"prefix,omitempty" validate:"omitempty,anyclientid"`                                                                     // "" for all
	Group       *string            `json:"group,omitempty" validate:"omitempty,anygroup"`                                                                         // "" for all
	Labels      *map[string]string `json:"labels,omitempty" validate:"omitempty,max=32,dive,keys,labelkey,endkeys,bytes=256,max=256" swaggertype:"object,string"` // replaces the labels
	State       *string            `json:"state,omitempty" enums:"active,paused"`                                                                                 // active enables a disabled one
	Timeout     *string            `json:"timeout,omitempty" empty:"no"`                                                                                          // of one request
	Concurrency *int               `json:"concurrency,omitempty"`                                                                                                 // requests at once
	Headers     *map[string]string `json:"headers,omitempty" swaggertype:"object,string"`                                                                         // replaces the headers
	RetryFor    *string            `json:"retry_for,omitempty" empty:"no"`                                                                                        // see WebhookCreate
	Settle      *string            `json:"settle,omitempty"`                                                                                                      // "" for none
	Reply       *bool              `json:"reply,omitempty"`                                                                                                       // push answers to devices
} //@name WebhookPatch

func webhookView(st *webhook.Status, now time.Time) Webhook {
	v := Webhook{ID: st.ID, Name: st.Name, URL: st.URL, Types: st.Filter.Types, Client: string(st.Filter.Client), Prefix: st.Filter.Prefix,
		Group: st.Filter.Group, Labels: st.Filter.Labels, State: string(st.Condition()), Reason: string(st.Reason), Timeout: durationText(st.Timeout),
		Concurrency: st.Concurrency, Headers: slices.Sorted(maps.Keys(st.Headers)), RetryFor: durationText(st.RetryFor), Reply: st.Reply,
		Payloads: st.Payloads, CreatedAt: stamp(st.CreatedAt), Cursor: strconv.FormatUint(st.Cursor, 10), LagEvents: st.Lag, Waiting: st.Waiting,
		ParkedClients: st.Parked, Down: st.Down, LastSuccessAt: stamp(st.LastSuccess), LastError: st.LastError, Missed: st.Missed}
	if v.Types == nil {
		v.Types = []string{}
	}
	if v.Headers == nil {
		v.Headers = []string{}
	}
	if st.Settle > 0 {
		v.Settle = durationText(st.Settle)
	}
	if !st.Oldest.IsZero() {
		v.LagSeconds = max(0, now.Sub(st.Oldest).Seconds())
	}
	return v
}

func durationText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

func (b *WebhookCreate) spec() (s webhook.Spec, err error) {
	s = webhook.Spec{Name: b.Name, URL: b.URL, State: webhook.State(b.State), Headers: b.Headers, Reply: b.Reply, Filter: filterOf(b.Types, b.Client, b.Prefix, b.Group, b.Labels)}
	return s, numbers(&s, b.Concurrency, &b.Timeout, &b.RetryFor, &b.Settle)
}

// numbers sets the members of s that are numbers and durations, unless they are absent.
func numbers(s *webhook.Spec, concurrency *int, timeout, retryFor, settle *string) error {
	return cmp.Or(bodyConcurrency(&s.Concurrency, concurrency), bodyDuration(&s.Timeout, timeout, "/timeout", webhook.MinTimeout),
		bodyDuration(&s.RetryFor, retryFor, "/retry_for", webhook.MinRetryFor), bodyDuration(&s.Settle, settle, "/settle", 0))
}

// filterOf returns the selection of a body. Validation has refused empty members: they
// would select everything.
func filterOf(types []string, client, prefix, group *string, labels map[string]string) feed.Filter {
	f := feed.Filter{Types: types, Labels: labels}
	set((*string)(&f.Client), client)
	set(&f.Prefix, prefix)
	set(&f.Group, group)
	return f
}

// bodyConcurrency sets n, unless v is absent. A 0 in a Spec is the default, and one in
// a body is refused.
func bodyConcurrency(n, v *int) error {
	if v != nil && *v < 1 {
		return problem.InvalidBody("/concurrency", "must be 1 to %d", webhook.MaxConcurrency)
	}
	set(n, v)
	return nil
}

// bodyDuration reads a duration of a body; nil and "" leave it as it is.
func bodyDuration(d *time.Duration, text *string, pointer string, least time.Duration) error {
	if text == nil || *text == "" {
		return nil
	}
	v, err := parseDuration(*text)
	switch {
	case least == 0 && (err != nil || v < 0):
		return problem.InvalidBody(pointer, "must be a duration, such as 30s, and not negative")
	case err != nil || v < least:
		return problem.InvalidBody(pointer, "must be a duration of at least %s, such as 10m", durationText(least))
	}
	*d = v
	return nil
}

// reset takes the named members back to their defaults.
func reset(s *webhook.Spec, names []string) error {
	f := &s.Filter
	members := map[string]any{"name": &s.Name, "types": &f.Types, "client": &f.Client, "prefix": &f.Prefix, "group": &f.Group, "labels": &f.Labels,
		"timeout": &s.Timeout, "concurrency": &s.Concurrency, "headers": &s.Headers, "retry_for": &s.RetryFor, "settle": &s.Settle, "reply": &s.Reply}
	for _, name := range names {
		member, ok := members[name]
		if !ok {
			return problem.InvalidBody("/"+name, "must not be null")
		}
		reflect.ValueOf(member).Elem().SetZero()
	}
	return nil
}

// change applies the members that are there.
func (b *WebhookPatch) change(s *webhook.Spec) error {
	set(&s.Name, b.Name)
	set(&s.URL, b.URL)
	set(&s.Filter.Types, b.Types)
	set(&s.Filter.Prefix, b.Prefix)
	set(&s.Filter.Group, b.Group)
	set(&s.Filter.Labels, b.Labels)
	set(&s.Headers, b.Headers)
	set(&s.Reply, b.Reply)
	set((*string)(&s.Filter.Client), b.Client)
	if b.State != nil {
		st := webhook.State(*b.State)
		if st != webhook.Active && st != webhook.Paused { // no caller disables one
			return problem.InvalidBody("/state", "must be active or paused")
		}
		s.State = st
	}
	if b.Settle != nil {
		s.Settle = 0
	}
	return numbers(s, b.Concurrency, b.Timeout, b.RetryFor, b.Settle)
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

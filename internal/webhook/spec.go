package webhook

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

// Bounds of webhooks.
const (
	MaxWebhooks       = 10_000
	maxOfTenant       = 100  // of one limit
	MaxRequests       = 4096 // under way at once
	maxURL            = 2048 // bytes
	maxTypes          = 64
	maxHeaders        = 32
	maxHeaderBytes    = 8 << 10
	maxLabels         = 32
	maxName           = 128
	MinTimeout        = time.Second
	MaxTimeout        = 30 * time.Second
	DefaultTimeout    = 10 * time.Second
	MaxConcurrency    = 64
	DefaultConcurrent = 8
	MinRetryFor       = time.Minute
	MaxRetryFor       = 30 * 24 * time.Hour
	DefaultRetryFor   = 72 * time.Hour
	MaxSettle         = 10 * time.Minute
)

// State says whether a webhook gets events.
type State string

const (
	Active   State = "active"
	Paused   State = "paused"   // by a caller
	Disabled State = "disabled" // by the gateway; Webhook.Reason says why
)

// Reason says why a webhook is disabled.
type Reason string

const (
	Gone      Reason = "gone"       // the endpoint has answered 410
	NoSuccess Reason = "no_success" // no request has succeeded for five days
)

// Reasons returns all of them.
func Reasons() []string { return []string{string(Gone), string(NoSuccess)} }

// text says it to people.
func (r Reason) text() string {
	if r == Gone {
		return errGone
	}
	return "no request has succeeded for five days"
}

// Spec is the part of a webhook that callers set.
type Spec struct {
	Name        string            `json:"name,omitempty"`
	URL         string            `json:"url"`
	Filter      feed.Filter       `json:"filter"`
	State       State             `json:"state"` // Active or Paused
	Timeout     time.Duration     `json:"timeout"`
	Concurrency int               `json:"concurrency"`
	Headers     map[string]string `json:"headers,omitempty"` // never shown again
	RetryFor    time.Duration     `json:"retry_for"`
	// Settle keeps back the end of a connection for so long: if the client is back
	// within it, neither event is sent.
	Settle time.Duration `json:"settle,omitempty"`
	// Reply pushes the body of a 200 answer to message.received to the client.
	Reply bool `json:"reply,omitempty"`
}

// FieldError says which member of a Spec is wrong.
type FieldError struct{ Field, Text string }

func (e *FieldError) Error() string { return e.Field + " " + e.Text }

// complete fills in defaults and returns a *FieldError if the spec is not valid.
func (s *Spec) complete() error {
	s.State = cmp.Or(s.State, Active)
	s.Timeout = cmp.Or(s.Timeout, DefaultTimeout)
	s.Concurrency = cmp.Or(s.Concurrency, DefaultConcurrent)
	s.RetryFor = cmp.Or(s.RetryFor, DefaultRetryFor)
	switch {
	case s.State != Active && s.State != Paused:
		return &FieldError{"state", "must be active or paused"}
	case len(s.Name) > maxName || !utf8.ValidString(s.Name):
		return &FieldError{"name", fmt.Sprintf("has at most %d bytes of UTF-8", maxName)}
	case s.Timeout < MinTimeout || s.Timeout > MaxTimeout:
		return &FieldError{"timeout", fmt.Sprintf("must be %v to %v", MinTimeout, MaxTimeout)}
	case s.Concurrency < 1 || s.Concurrency > MaxConcurrency:
		return &FieldError{"concurrency", fmt.Sprintf("must be 1 to %d", MaxConcurrency)}
	case s.RetryFor < MinRetryFor || s.RetryFor > MaxRetryFor:
		return &FieldError{"retry_for", fmt.Sprintf("must be %v to %v", MinRetryFor, MaxRetryFor)}
	case s.Settle < 0 || s.Settle > MaxSettle:
		return &FieldError{"settle", fmt.Sprintf("must be at most %v", MaxSettle)}
	case len(s.Filter.Types) > maxTypes:
		return &FieldError{"types", fmt.Sprintf("has at most %d entries", maxTypes)}
	case len(s.Filter.Labels) > maxLabels:
		return &FieldError{"labels", fmt.Sprintf("has at most %d entries", maxLabels)}
	}
	if err := checkURL(s.URL); err != nil {
		return err
	}
	return checkHeaders(s.Headers)
}

func checkURL(text string) error {
	bad := func(why string) error { return &FieldError{"url", why} }
	if len(text) > maxURL {
		return bad(fmt.Sprintf("has at most %d bytes", maxURL))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return bad("must be an absolute http or https URL")
	case u.User != nil:
		return bad("must not have a user or password: put credentials into headers")
	case u.Fragment != "":
		return bad("must not have a fragment")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || n == 0) {
		return bad("has a port that is none of 1 to 65535")
	}
	return nil
}

// reserved are headers that the gateway or HTTP sets.
var reserved = map[string]bool{"Host": true, "Content-Length": true, "Content-Type": true, "Transfer-Encoding": true, "Connection": true,
	"Trailer": true, "Te": true, "Upgrade": true, "Keep-Alive": true, "Proxy-Connection": true, "User-Agent": true}

func checkHeaders(h map[string]string) error {
	size := 0
	names := make(map[string]bool)
	for k, v := range h {
		size += len(k) + len(v)
		canonical := http.CanonicalHeaderKey(k)
		if names[canonical] { // one request would have the one value, the next one the other
			return &FieldError{"headers", fmt.Sprintf("has %s twice: the case of letters does not count", canonical)}
		}
		names[canonical] = true
		if !httpguts.ValidHeaderFieldName(k) || !httpguts.ValidHeaderFieldValue(v) {
			return &FieldError{"headers", fmt.Sprintf("has %q, which is no valid header", k)}
		}
		if reserved[canonical] || strings.HasPrefix(canonical, "Webhook-") {
			return &FieldError{"headers", fmt.Sprintf("must not have %s, which the gateway sets", canonical)}
		}
	}
	if len(h) > maxHeaders || size > maxHeaderBytes {
		return &FieldError{"headers", fmt.Sprintf("has at most %d entries with %d bytes in all", maxHeaders, maxHeaderBytes)}
	}
	return nil
}

// Webhook is a webhook as the store has it.
type Webhook struct {
	Spec
	ID        string       `json:"id"`
	Limit     apikey.Limit `json:"limit"`    // of the key that has made it
	Payloads  bool         `json:"payloads"` // that key could read messages
	CreatedAt time.Time    `json:"created_at"`
	Reason    Reason       `json:"reason,omitempty"` // why it is disabled
	Secret    string       `json:"secret"`
	// OldSecret signs, too, until OldUntil, after a rotation.
	OldSecret string    `json:"old_secret,omitempty"`
	OldUntil  time.Time `json:"old_until,omitzero"`
	// Older are those before OldSecret, oldest first, after several rotations in a day.
	Older []OlderSecret `json:"older_secrets,omitempty"`
	// Disabled is apart from Spec.State, so that it can be enabled as it was.
	Disabled bool `json:"disabled,omitempty"`
	// Unnoted says that the log may not have the event of it yet.
	Unnoted bool `json:"unnoted,omitempty"`
}

// OlderSecret is a secret that signs until a time.
type OlderSecret struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until"`
}

// maxOlder bounds Webhook.Older.
const maxOlder = 4

// rotate replaces the secret. The secrets of the last day still sign, because the endpoint may
// have any of them.
func (w *Webhook) rotate(now time.Time) {
	if w.OldSecret != "" {
		w.Older = append(w.Older, OlderSecret{w.OldSecret, w.OldUntil})
	}
	w.Older = slices.DeleteFunc(w.Older, func(o OlderSecret) bool { return !now.Before(o.Until) })
	w.Older = w.Older[max(0, len(w.Older)-maxOlder):]
	w.OldSecret, w.OldUntil, w.Secret = w.Secret, now.Add(oldSecretFor), newSecret()
}

// secrets returns those that sign at a time, the newest first.
func (w *Webhook) secrets(now time.Time) []string {
	list := []string{w.Secret}
	for _, o := range slices.Backward(append(slices.Clone(w.Older), OlderSecret{w.OldSecret, w.OldUntil})) {
		if o.Secret != "" && now.Before(o.Until) {
			list = append(list, o.Secret)
		}
	}
	return list
}

// unasked reports whether an event that Manager.compile selects is not to be sent.
func (w *Webhook) unasked(ev *gateway.Event) bool {
	return ev.Type == gateway.EventClientConnected && !w.Filter.Asks(ev.Type)
}

// Condition returns the state in effect.
func (w *Webhook) Condition() State {
	if w.Disabled {
		return Disabled
	}
	return w.State
}

// secretPrefix starts a secret of the Standard Webhooks specification; base64 of 24 to
// 64 bytes follows.
const secretPrefix = "whsec_"

func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// oldSecretFor is how long the secret before a rotation signs too.
const oldSecretFor = 24 * time.Hour

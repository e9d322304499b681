package deviceauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/private"
	"github.com/longwire/longwire/internal/watch"
)

// Config sets which devices may register. The zero value admits every device.
type Config struct {
	SharedToken string // one token for all devices; "" = none

	TokensFile string // file of the tokens of devices (see TokenEntry); "" = none

	JWTKeys     string        // file or directory of keys (see LoadKeys); "" = no signed tokens
	JWTIssuer   string        // required iss of a token; "" = any
	JWTAudience string        // required aud of a token; "" = any
	JWTLeeway   time.Duration // allowed difference between clocks; 0 = none

	CertificateID CertificateRule // the name of a certificate that is the id
	ClientCA      string          // file of the authorities that sign certificates, to notice when one is removed; "" = they never are
	RevokedFile   string          // lists of revoked certificates (CRL), signed by authorities in ClientCA; "" = none

	Hook HookConfig // zero = no hook

	// RequireAll requires every configured kind of credential: the certificate, one
	// of the tokens and the hook's consent. Otherwise one of them is enough.
	RequireAll bool

	Unknown  UnknownPolicy
	Patterns []string // patterns of ids (see path.Match) for UnknownPattern
	// Known reports whether the store remembers a client. UnknownListed requires
	// it.
	Known func(gateway.ClientID) (bool, error)

	// FailuresPerMinute bounds the refused registrations from one source (an IPv4
	// address or an IPv6 /64; loopback has no bound). A source may use a minute's
	// worth at once. Beyond the bound the Authenticator accepts only a right
	// credential that cannot be guessed. 0 = no bound.
	FailuresPerMinute int

	// Changed is called after a changed file of credentials came into force.
	// Earlier grants may no longer hold. nil = no call.
	Changed func()

	// Now is the clock for the expiry of tokens and certificates; nil is time.Now.
	Now func() time.Time

	Logger *slog.Logger // nil discards all records
}

// UnknownPolicy decides about a device if no credential is bound to its id.
type UnknownPolicy string

const (
	// UnknownAuto admits the device if the shared token did, or if no credential is
	// configured.
	UnknownAuto    UnknownPolicy = "auto"
	UnknownOpen    UnknownPolicy = "open"    // every id may register
	UnknownListed  UnknownPolicy = "listed"  // ids in the store or in the token file may register
	UnknownPattern UnknownPolicy = "pattern" // ids that match one of Patterns may register
)

// Authenticator decides which devices may register. Any goroutine may call its
// methods.
type Authenticator struct {
	cfg    Config
	log    *slog.Logger
	shared [sha256.Size]byte // hash of cfg.SharedToken

	tokens atomic.Pointer[tokenSet] // nil without TokensFile
	keys   atomic.Pointer[KeySet]   // nil without JWTKeys
	parser *jwt.Parser              // of signed tokens
	hook   *hook                    // nil without a URL

	authorities atomic.Pointer[authorities]         // nil without ClientCA
	revoked     atomic.Pointer[revokedCertificates] // nil without RevokedFile

	penalties *penalties
	refused   gateway.RefusedList
	stats     counters

	stop    context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup // the goroutines of the watcher and of the hook's calls

	early  rate.Sometimes // looks at the files before their time, once a second
	reload sync.Mutex     // held during a look at the files; guards the following
	files  []*watch.Files
	stale  time.Time // when the first list in revoked has to be replaced; zero = never, or it is logged
}

// New reads the files. Start watches them; Close ends that.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Unknown == "" {
		cfg.Unknown = UnknownAuto
	}
	if cfg.Unknown == UnknownListed && cfg.Known == nil {
		return nil, errors.New("deviceauth: Config.Known is required to know listed devices")
	}
	for _, p := range cfg.Patterns {
		if err := checkPattern(p); err != nil {
			return nil, err
		}
	}
	a := &Authenticator{cfg: cfg, log: cfg.Logger, shared: sha256.Sum256([]byte(cfg.SharedToken)),
		parser: newParser(&cfg), penalties: newPenalties(cfg.FailuresPerMinute), early: rate.Sometimes{Interval: time.Second}}
	a.stats.results = newCounts(results()...)
	a.ctx, a.stop = context.WithCancel(context.Background())
	if cfg.Hook.URL != "" {
		h, err := newHook(a.ctx, &a.running, cfg.Hook, cfg.Logger)
		if err != nil {
			return nil, err
		}
		a.hook = h
	}
	a.watch(a.loadTokens, cfg.TokensFile)
	a.watch(a.loadKeys, cfg.JWTKeys)
	if cfg.CertificateID.asks() {
		a.watch(a.loadAuthorities, cfg.ClientCA)
	}
	a.watch(a.loadRevoked, cfg.RevokedFile, cfg.ClientCA) // the authorities have signed the lists
	for _, f := range a.files {
		if _, err := f.Look(); err != nil {
			return nil, err
		}
	}
	a.warnStale()
	return a, nil
}

func (a *Authenticator) loadTokens() error {
	set, err := readTokenSet(a.cfg.TokensFile)
	if err != nil {
		return err
	}
	a.tokens.Store(set)
	a.log.Info("device tokens loaded", "file", a.cfg.TokensFile, "tokens", len(set.byHash))
	return nil
}

func (a *Authenticator) loadKeys() error {
	keys, err := LoadKeys(a.cfg.JWTKeys)
	if errors.Is(err, errNoKeys) && keys.Ignored == 0 && a.keys.Load() != nil { // the last one was taken out
		a.log.Warn("no signed device token is accepted: there is no key", "file", a.cfg.JWTKeys)
		err = nil
	}
	if err != nil {
		return err
	}
	a.keys.Store(keys)
	a.log.Info("keys of signed device tokens loaded", "file", a.cfg.JWTKeys, "keys", len(keys.keys), "ignored", keys.Ignored)
	for _, wide := range private.Examine(keys.secrets(a.cfg.JWTKeys)) {
		wide.Log(a.log)
	}
	return nil
}

func (a *Authenticator) loadAuthorities() error {
	list, err := readAuthorities(a.cfg.ClientCA)
	if err != nil {
		return err
	}
	a.authorities.Store(&list)
	a.log.Info("authorities of devices' certificates loaded", "file", a.cfg.ClientCA, "authorities", len(list))
	return nil
}

func (a *Authenticator) loadRevoked() error {
	list, stale, err := readRevoked(a.cfg.RevokedFile, a.cfg.ClientCA)
	if err != nil {
		return err
	}
	a.revoked.Store(&list)
	a.stale = stale
	a.log.Info("lists of revoked certificates loaded", "file", a.cfg.RevokedFile, "certificates", len(list))
	return nil
}

// Authenticate implements gateway.Config.Authenticate. It blocks only on the hook and the
// store, and on the files if the listener trusts an authority that it does not know yet.
func (a *Authenticator) Authenticate(ctx context.Context, h gateway.Hello) (gateway.Grant, error) {
	source := gateway.SourceOf(h.Remote)
	if wait := a.penalties.wait(source, a.cfg.Now()); wait > 0 && !a.provesItself(&h) {
		a.stats.add(MethodNone, ReasonThrottled)
		return gateway.Grant{}, &gateway.Error{Code: gateway.CodeUnavailable, RetryAfter: wait,
			Message: "too many registrations from this address were refused"}
	}
	v := a.decide(ctx, &h)
	a.stats.add(v.method, v.reason)
	switch {
	case v.accepted():
		a.refused.Forget(h.Client)
		if a.hook != nil && a.cfg.Hook.Monitor {
			a.hook.monitor(&h)
		}
		return gateway.Grant{ExpiresAt: v.expires, Credential: v.credential, Groups: v.groups, Unchecked: v.method == MethodNone}, nil
	case v.undecided():
		if v.method == MethodHook && ctx.Err() == nil { // the device still waits
			a.hook.outage.turnedAway(h.Client, v.reason, time.Now())
		}
		return gateway.Grant{}, &gateway.Error{Code: gateway.CodeUnavailable,
			Message: "the gateway cannot decide now whether the device may register", Cause: errors.New(string(v.reason))}
	}
	now := a.cfg.Now()
	a.penalties.add(source, now)
	a.refused.Add(&h, string(v.reason), now)
	return gateway.Grant{}, fmt.Errorf("%s: %s", v.method, v.reason)
}

// unguessable is the least length in bytes of a shared token that counts as made by
// a machine.
const unguessable = 32

// provesItself reports whether a device has shown a right credential that cannot be
// guessed. Such a device does not suffer from the refusals of others behind its
// address. If a token is required beside the certificate, the token counts: otherwise the
// holder of a certificate could guess it. provesItself does not ask the hook.
func (a *Authenticator) provesItself(h *gateway.Hello) bool {
	if a.cfg.CertificateID.asks() && h.Certificate != nil {
		ok := a.certificate(h).accepted()
		if !ok || !a.cfg.RequireAll || !a.asksToken() {
			return ok
		}
	}
	if !a.asksToken() || h.Token == "" {
		return false
	}
	v := a.token(h)
	return v.accepted() && (v.method != MethodShared || len(a.cfg.SharedToken) >= unguessable)
}

// decide applies the policy: the credentials that this id needs, and whether the
// device has them. If every device has a token, an unknown id takes the same path
// as a wrong token, so that the time of an answer does not reveal which ids exist.
func (a *Authenticator) decide(ctx context.Context, h *gateway.Hello) verdict {
	v := verdict{method: MethodNone, reason: ReasonAccepted}
	covered := a.covers(h.Client)
	if covered || a.cfg.TokensFile != "" && a.cfg.Unknown == UnknownAuto {
		v = a.credentials(ctx, h)
		switch {
		case !v.accepted() && !covered:
			return refused(MethodNone, ReasonUnknownDevice)
		case !v.accepted() || v.bound:
			return v
		}
	} else if a.cfg.TokensFile != "" {
		v.credential = noCredential{a}
	}
	return a.admit(h.Client, v)
}

// covers reports whether id needs a credential.
func (a *Authenticator) covers(id gateway.ClientID) bool {
	return a.cfg.SharedToken != "" || a.cfg.JWTKeys != "" || a.cfg.CertificateID.asks() || a.asksHook() ||
		a.tokens.Load().covers(id)
}

func (a *Authenticator) asksHook() bool { return a.hook != nil && !a.cfg.Hook.Monitor }

// asksToken reports whether any form of token is configured.
func (a *Authenticator) asksToken() bool {
	return a.cfg.SharedToken != "" || a.cfg.TokensFile != "" || a.cfg.JWTKeys != ""
}

// admit applies the policy for an id that no credential is bound to. v is the
// verdict on the credentials that the device has shown.
func (a *Authenticator) admit(id gateway.ClientID, v verdict) verdict {
	ok := false
	switch a.cfg.Unknown {
	case UnknownOpen:
		ok = true
	case UnknownPattern:
		ok = matchesAny(a.cfg.Patterns, id)
	case UnknownListed:
		if ok = a.tokens.Load().covers(id); !ok {
			known, err := a.cfg.Known(id)
			if err != nil {
				return verdict{method: v.method, reason: ReasonStore}
			}
			ok = known
		}
	default:
		ok = v.method == MethodShared || a.cfg.TokensFile == ""
	}
	if !ok {
		return verdict{method: v.method, reason: ReasonUnknownDevice}
	}
	return v
}

// credentials checks the credentials that the device has shown.
func (a *Authenticator) credentials(ctx context.Context, h *gateway.Hello) verdict {
	if a.cfg.RequireAll {
		return a.allCredentials(ctx, h)
	}
	return a.anyCredential(ctx, h)
}

// anyCredential accepts the first credential that is enough; it tries the cheap
// ones before the hook. A certificate with another id is a refusal even if another
// credential is right, because the device has proven to be a different one.
func (a *Authenticator) anyCredential(ctx context.Context, h *gateway.Hello) verdict {
	v := refused(MethodNone, ReasonNoCredentials)
	if a.cfg.CertificateID.asks() && h.Certificate != nil {
		return a.certificate(h)
	}
	if a.asksToken() && h.Token != "" {
		if v = a.token(h); v.accepted() {
			return v
		}
	}
	if a.asksHook() {
		return a.hook.ask(ctx, h)
	}
	return v
}

// allCredentials requires each kind. The grant ends when the first credential does.
func (a *Authenticator) allCredentials(ctx context.Context, h *gateway.Hello) verdict {
	all := verdict{method: MethodNone, reason: ReasonAccepted}
	if a.cfg.CertificateID.asks() {
		if all = all.and(a.certificate(h)); !all.accepted() {
			return all
		}
	}
	if a.asksToken() {
		if all = all.and(a.token(h)); !all.accepted() {
			return all
		}
	}
	if a.asksHook() {
		all = all.and(a.hook.ask(ctx, h))
	}
	return all
}

// token checks the one token that a device can present against each configured form
// that it may have.
func (a *Authenticator) token(h *gateway.Hello) verdict {
	if h.Token == "" {
		return refused(MethodNone, ReasonNoCredentials)
	}
	v := refused(MethodShared, ReasonWrongToken)
	if a.cfg.SharedToken == "" {
		v = refused(MethodToken, ReasonWrongToken)
	}
	if tokens := a.tokens.Load(); tokens != nil && WellFormed(h.Token) {
		v = a.ownToken(tokens, h)
	} else if keys := a.keys.Load(); keys != nil && looksSigned(h.Token) {
		v = a.checkSigned(keys, h)
	}
	if v.accepted() || a.cfg.SharedToken == "" {
		return v
	}
	got := sha256.Sum256([]byte(h.Token))
	if subtle.ConstantTimeCompare(got[:], a.shared[:]) == 1 {
		return verdict{method: MethodShared, reason: ReasonAccepted}
	}
	return v
}

package deviceauth

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

func TestWithoutAnythingConfiguredEverybodyIsLetIn(t *testing.T) {
	d := open(t, Config{})
	d.wantIn(hello("d", ""), time.Time{})
	d.wantIn(hello("d", "whatever"), time.Time{})
}

func TestSharedToken(t *testing.T) {
	d := open(t, Config{SharedToken: "open sesame"})
	d.wantIn(hello("d", "open sesame"), time.Time{})
	d.wantOut(hello("d", "open sesam"), MethodShared, ReasonWrongToken)
	d.wantOut(hello("d", ""), MethodNone, ReasonNoCredentials)
}

// The shared token goes on to work beside tokens of devices, as in a migration.
func TestSharedTokenBesideOthers(t *testing.T) {
	file := writeFile(t, "tokens", "")
	own := tokenFor(t, file, TokenEntry{Client: "d"})
	shared := NewToken() // of the same form
	d := open(t, Config{SharedToken: shared, TokensFile: file})
	d.wantIn(hello("d", own), time.Time{})
	d.wantIn(hello("d", shared), time.Time{})
	d.wantIn(hello("e", shared), time.Time{})
	d.wantOut(hello("e", own), MethodToken, ReasonOtherClient)
}

func TestUnknownDevices(t *testing.T) {
	known := func(id gateway.ClientID) (bool, error) {
		if id == "sick" {
			return false, errors.New("disk on fire")
		}
		return id == "seen", nil
	}
	file := writeFile(t, "tokens", "")
	listed := tokenFor(t, file, TokenEntry{Client: "listed"})

	t.Run("open", func(t *testing.T) {
		d := open(t, Config{TokensFile: file, Unknown: UnknownOpen})
		d.wantIn(hello("anybody", ""), time.Time{})
		d.wantOut(hello("listed", ""), MethodNone, ReasonNoCredentials) // an id that has a token needs it
	})
	t.Run("listed", func(t *testing.T) {
		d := open(t, Config{TokensFile: file, Unknown: UnknownListed, Known: known})
		d.wantIn(hello("seen", ""), time.Time{})
		d.wantIn(hello("listed", listed), time.Time{})
		d.wantOut(hello("anybody", ""), MethodNone, ReasonUnknownDevice)
		d.wantLater(hello("sick", ""), ReasonStore)
	})
	t.Run("pattern", func(t *testing.T) {
		d := open(t, Config{Unknown: UnknownPattern, Patterns: []string{"meter-*", "lock-[0-9]"}})
		d.wantIn(hello("meter-x.7", ""), time.Time{})
		d.wantIn(hello("lock-7", ""), time.Time{})
		d.wantOut(hello("lock-77", ""), MethodNone, ReasonUnknownDevice)
		d.wantOut(hello("ameter-1", ""), MethodNone, ReasonUnknownDevice)
	})
	t.Run("the shared token says not which device", func(t *testing.T) {
		d := open(t, Config{SharedToken: "s", TokensFile: file, Unknown: UnknownListed, Known: known})
		d.wantIn(hello("seen", "s"), time.Time{})
		d.wantIn(hello("listed", "s"), time.Time{})
		d.wantOut(hello("anybody", "s"), MethodShared, ReasonUnknownDevice)
		d.wantOut(hello("seen", ""), MethodNone, ReasonNoCredentials)
	})
}

// Whoever tries wrong tokens cannot tell whether the id exists.
func TestWrongTokenAndUnknownIDAreAnsweredAlike(t *testing.T) {
	file := writeFile(t, "tokens", "")
	tokenFor(t, file, TokenEntry{Client: "there"})
	d := open(t, Config{TokensFile: file})
	for _, h := range []gateway.Hello{hello("there", NewToken()), hello("there", ""), hello("elsewhere", NewToken()), hello("elsewhere", "")} {
		_, err := d.register(h)
		if code := gateway.CodeOf(err); err == nil || code != "" { // the gateway answers every such error as unauthorized
			t.Errorf("%s with %d bytes: %v (%s)", h.Client, len(h.Token), err, code)
		}
	}
}

func TestRefusalsFromOneSourceAreLimited(t *testing.T) {
	file := writeFile(t, "tokens", "")
	token := tokenFor(t, file, TokenEntry{Client: "d"})
	d := open(t, Config{TokensFile: file, FailuresPerMinute: 10})
	from := func(h gateway.Hello, addr string) gateway.Hello {
		h.Remote = netip.MustParseAddrPort(addr)
		return h
	}
	for range 10 {
		d.wantOut(from(hello("d", NewToken()), "198.51.100.1:1"), MethodToken, ReasonWrongToken)
	}
	d.wantIn(from(hello("d", token), "198.51.100.1:2"), time.Time{}) // others behind the address do not hold it up
	_, err := d.register(from(hello("d", NewToken()), "198.51.100.1:2"))
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.Code != gateway.CodeUnavailable || e.RetryAfter <= 0 || e.RetryAfter > 6*time.Second {
		t.Errorf("after ten refusals: %v", err)
	}
	if n := d.Stats().Results[[2]string{"none", "throttled"}]; n != 1 {
		t.Errorf("throttled %d times, want 1", n)
	}
	d.wantIn(from(hello("d", token), "198.51.100.2:1"), time.Time{})
	for range 20 { // loopback is ourselves
		d.wantOut(from(hello("d", NewToken()), "127.0.0.1:1"), MethodToken, ReasonWrongToken)
	}
	for i := range 10 { // a /64 is one source
		d.wantOut(from(hello("d", ""), "[2001:db8::"+string(rune('1'+i%9))+"]:1"), MethodNone, ReasonNoCredentials)
	}
	if _, err := d.register(from(hello("d", NewToken()), "[2001:db8::ffff]:1")); !errors.Is(err, gateway.ErrUnavailable) {
		t.Errorf("a neighbour in the /64: %v", err)
	}
	d.wantIn(from(hello("d", token), "[2001:db8:0:1::1]:1"), time.Time{})
}

// A token that a person chose may be found by trying: from an address with many
// refusals the right one is refused like a wrong one. One that a machine made is
// taken.
func TestGuessingASharedTokenIsSlow(t *testing.T) {
	for shared, passes := range map[string]bool{"correct horse battery": false, "8d1f0c6e5b7a49d2a3c4e5f60718293a": true} {
		d := open(t, Config{SharedToken: shared, FailuresPerMinute: 10})
		h := hello("d", "wrong")
		h.Remote = netip.MustParseAddrPort("198.51.100.1:1")
		for range 10 {
			d.wantOut(h, MethodShared, ReasonWrongToken)
		}
		h.Token = shared
		if _, err := d.register(h); passes != (err == nil) || err != nil && !errors.Is(err, gateway.ErrUnavailable) {
			t.Errorf("a token of %d bytes: %v, want it taken: %v", len(shared), err, passes)
		}
	}
}

// The holder of a certificate does not guess the token that is required beside it.
func TestACertificateDoesNotHelpToGuess(t *testing.T) {
	d := open(t, Config{CertificateID: CertificateCN, SharedToken: "correct horse battery", RequireAll: true, FailuresPerMinute: 10})
	h := with(hello("meter-1", "wrong"), leaf(t, time.Now().Add(time.Hour)))
	for range 10 {
		d.wantOut(h, MethodShared, ReasonWrongToken)
	}
	for _, guess := range []string{"another", "correct horse battery"} {
		h.Token = guess
		if _, err := d.register(h); !errors.Is(err, gateway.ErrUnavailable) {
			t.Errorf("%s: %v, want that it comes back later", guess, err)
		}
	}
	own := open(t, Config{CertificateID: CertificateCN, SharedToken: "correct horse battery", FailuresPerMinute: 10})
	for range 10 {
		own.wantOut(hello("meter-1", "wrong"), MethodShared, ReasonWrongToken)
	}
	if _, err := own.register(h); err != nil {
		t.Errorf("with a certificate that is enough: %v", err)
	}
}

func TestPenaltiesEndAndTheirTableIsBounded(t *testing.T) {
	p := newPenalties(60)
	now := time.Unix(1e9, 0)
	bad := netip.MustParseAddr("198.51.100.1")
	for range 60 {
		if wait := p.wait(bad, now); wait != 0 {
			t.Fatalf("wait %v before the bucket is empty", wait)
		}
		p.add(bad, now)
	}
	if wait := p.wait(bad, now); wait != time.Second {
		t.Errorf("wait %v, want 1s for the next", wait)
	}
	if wait := p.wait(bad, now.Add(time.Second)); wait != 0 {
		t.Errorf("wait %v after a second, want none", wait)
	}
	for i := range 3 * maxSources {
		p.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Duration(i)))
	}
	if n := len(p.buckets); n != maxSources {
		t.Errorf("%d sources are kept, want %d", n, maxSources)
	}
	off := newPenalties(0)
	for range 100 {
		off.add(bad, now)
	}
	if wait := off.wait(bad, now); wait != 0 {
		t.Errorf("without a limit: wait %v", wait)
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no store to ask": {Config{Unknown: UnknownListed}, "Known"},
		"bad pattern":     {Config{Patterns: []string{"["}}, "not a pattern"},
		"no such file":    {Config{TokensFile: "/nowhere/tokens"}, "/nowhere/tokens"},
		"no such keys":    {Config{JWTKeys: "/nowhere/keys"}, "/nowhere/keys"},
		"hook":            {Config{Hook: HookConfig{URL: "ftp://x"}}, "URL"},
		"hook's user":     {Config{Hook: HookConfig{URL: "https://me:hunter2@x"}}, "no user name"},
	} {
		_, err := New(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want something about %q", name, err, c.want)
		}
	}
}

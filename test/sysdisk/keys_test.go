//go:build linux

package sysdisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

var (
	secretKey   = regexp.MustCompile(`lwk_\S+`)
	keyID       = regexp.MustCompile(`key_[0-9a-f-]+`)
	tokenID     = regexp.MustCompile(`dtk_[0-9a-f]+`)
	secretToken = regexp.MustCompile(`(?m)^(\S{20,})$`)
)

// Keys and device tokens are made and revoked, by commands before the first start
// and by the API of a running gateway. After a power cut one that was shown can be
// used, and a revoked one cannot.
func TestPowerCutKeepsKeysAndTokens(t *testing.T) {
	s := newScenario(t, nil)
	data, tokens := filepath.Join(s.root, "srv/gw/data"), filepath.Join(s.root, "etc")
	if err := os.Mkdir(tokens, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.rec.disk, err = newDisk(s.root); err != nil {
		t.Fatal(err)
	}
	tokens = filepath.Join(tokens, "tokens")
	var told facts

	// shown and gone note a key; a CLI's success is told when it has ended.
	shown := func(f fact, secret string) {
		f.kind, f.what, f.holds = "key shown", "key "+secret, func(v *view) error { return v.knowsKey(secret, true) }
		told.add(f)
	}
	gone := func(f fact, secret string) {
		f.kind, f.what, f.holds = "key revoked", "key "+secret+" is revoked", func(v *view) error { return v.knowsKey(secret, false) }
		told.add(f)
	}
	create := func(scopes string) (secret, id string) {
		out := s.command("keys", "create", "--data-dir", data, "--name", "k", "--scopes", scopes)
		return secretKey.FindString(out), keyID.FindString(out)
	}
	revoke := func(secret, id string) {
		s.command("keys", "revoke", "--data-dir", data, id)
		gone(fact{at: s.rec.end}, secret)
	}
	admin, _ := create("admin")
	shown(fact{at: s.rec.printedAt(t, admin)}, admin)
	second, secondID := create("messages:read")
	revoke(second, secondID)

	token := func(client string) (token, id string) {
		out := s.command("devices", "token", "create", "--file", tokens, "--client", client)
		return secretToken.FindString(out), tokenID.FindString(out)
	}
	for i := range 3 {
		client := fmt.Sprint("meter-", i)
		secret, id := token(client)
		if i == 1 {
			s.command("devices", "token", "revoke", "--file", tokens, id)
			told.add(fact{kind: "token revoked", what: "token of " + client + " is revoked", at: s.rec.end,
				holds: func(v *view) error { return v.knowsToken(client, secret, false) }})
			continue
		}
		told.add(fact{kind: "token shown", what: "token of " + client, at: s.rec.printedAt(t, secret),
			holds: func(v *view) error { return v.knowsToken(client, secret, true) }})
	}

	g, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	p := s.start(g.command(data, "--auth-device-tokens-file", tokens))
	g.process = p.process
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	var ws wires
	c := newCaller(g.httpAddr, &ws)
	c.key = admin
	for i := range 12 {
		a, err := c.call("POST", "/v1/keys", "", `{"name":"k","scopes":["messages:read"]}`)
		if err != nil || a.Secret == "" {
			t.Fatalf("create a key: %d, %v", a.code, err)
		}
		if i%3 != 0 {
			shown(fact{wire: a.wire, upto: a.upto}, a.Secret)
			continue
		}
		b, err := c.call("DELETE", "/v1/keys/"+a.ID, "", "")
		if err != nil || b.code >= 300 {
			t.Fatalf("revoke a key: %d, %v", b.code, err)
		}
		gone(fact{wire: b.wire, upto: b.upto}, a.Secret)
	}
	c.close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.end(0)
	third, thirdID := create("messages:read")
	revoke(third, thirdID)
	s.faithful()
	if err := told.date(&s.rec.sent); err != nil {
		t.Fatal(err)
	}

	seed := seed(t)
	o := s.try(t, s.choose(cutsOf(t, 15), seed, 0, told.all), func(root string, c cut) (int, []string) {
		data, tokens := filepath.Join(root, "srv/gw/data"), filepath.Join(root, "etc/tokens")
		var args []string
		if _, err := os.Stat(tokens); err == nil {
			args = append(args, "--auth-device-tokens-file", tokens)
		}
		return serve(t, data, func(g *gateway) (int, []string) {
			c1 := newCaller(g.httpAddr, nil)
			defer c1.close()
			return (&view{caller: c1, tcpAddr: g.tcpAddr}).check(told.before(c.at), c.seed)
		}, args...)
	})
	o.report(t, seed, "told: "+told.kinds())
}

// knowsKey checks that an API key opens the API, or that it does not. A gateway
// without any key would let everybody in.
func (v *view) knowsKey(secret string, want bool) error {
	for _, try := range []struct {
		key  string
		want int
	}{{secret, map[bool]int{true: 200, false: 401}[want]}, {"", 401}} {
		c := newCaller(v.addr, nil)
		c.key = try.key
		a, err := c.call("GET", "/v1/messages?limit=1", "", "")
		c.close()
		if err != nil || a.code != try.want {
			return fmt.Errorf("with key %q the answer is %d, want %d; %v", try.key, a.code, try.want, err)
		}
	}
	return nil
}

// knowsToken checks that a device registers with a token, or is refused. Without
// one it is refused in any case.
func (v *view) knowsToken(client, token string, want bool) error {
	for _, try := range []struct {
		token string
		want  bool
	}{{token, want}, {"", false}} {
		s, err := connect(v.tcpAddr, client, try.token)
		if err == nil {
			s.nc.Close()
		} else if !errors.Is(err, errRefused) {
			return err
		}
		if (err == nil) != try.want {
			return fmt.Errorf("with token %q it registers: %t", try.token, err == nil)
		}
	}
	return nil
}

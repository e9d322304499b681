package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

const (
	rightKey   = "lwk_first-key-of-the-test"
	hookSecret = "hook-secret-of-the-test"
)

// No secret comes to light, however it is used: not in the log at its most
// talkative, an answer, a metric, an event, the audit log, the list of refused
// registrations, or the settings as they are shown.
func TestSecretsStaySecret(t *testing.T) {
	alone(t, func(t *testing.T) {
		c, h, ca := newCredentials(t), newHook(t), newAuthority(t, "the gateway's")
		certFile, keyFile := ca.write(ca.issue("gateway", time.Hour))
		record := filepath.Join(t.TempDir(), "audit.log")
		r := &revelations{t: t}
		r.forbid(c.shared, c.own, hookSecret, rightKey, "lwk_second-key-of-the-test")
		r.forbid(linesOf(t, keyFile)...)

		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}}
		s := &site{T: t, log: new(journal), dialer: func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}}
		s.log.forbid(r.secrets...)
		var settings config.Config
		s.open(func(cfg *config.Config) {
			keyed(cfg)
			c.configure(&cfg.Auth)
			h.configure(cfg)
			cfg.Auth.DeviceHookSecret = hookSecret
			cfg.TCP.TLS, cfg.TCP.TLSCertFile, cfg.TCP.TLSKeyFile = config.Required, certFile, keyFile
			cfg.TCP.RegisterTimeout = config.Duration(time.Minute) // a busy machine is slow to shake hands
			cfg.Audit.File = record
			cfg.Log.Level = "debug"
			settings = *cfg
		})
		r.site = s
		events := s.streamOf(rightKey)
		heard := make(chan string, 1)
		go func() {
			var all strings.Builder
			for {
				line, err := events.r.ReadString('\n')
				all.WriteString(line)
				if err != nil || strings.Contains(line, "the last event") {
					heard <- all.String()
					return
				}
			}
		}()

		r.devices(c, h)
		r.callers()
		r.shown(&settings)

		p := s.mustEncrypt()
		p.register("last", fmt.Sprintf(`"token":%q`, c.shared))
		if err := p.send(frame(tData, number(1)+"the last event")); err != nil {
			t.Fatal(err)
		}
		p.want(tAck)
		r.judge("the stream of events", <-heard)
		audited, err := os.ReadFile(record)
		if err != nil || !strings.Contains(string(audited), "key.create") {
			t.Errorf("the audit log has %q, %v: want the writes of this test", clip(string(audited)), err)
		}
		r.judge("the audit log", string(audited))
		for _, page := range []string{"/metrics", "/v1/refused?limit=1000", "/v1/keys", "/v1/clients?status=all", "/v1/stats", "/v1/uplinks", "/readyz", "/version"} {
			r.ask("GET", page, "")
		}
		s.log.check(t)
	})
}

// revelations looks for secrets in whatever is told.
type revelations struct {
	t       *testing.T
	site    *site
	secrets []string // in each spelling
}

func (r *revelations) forbid(secrets ...string) {
	for _, s := range secrets {
		r.secrets = append(r.secrets, spellings(s)...)
	}
	if r.site != nil {
		r.site.log.forbid(secrets...)
	}
}

func (r *revelations) judge(where, text string) {
	r.t.Helper()
	if secret, is := reveals([]byte(text), r.secrets); is {
		r.t.Errorf("%s has the secret %s: %s", where, secret, clip(text))
	}
}

func (r *revelations) ask(method, target, body string, headers ...string) answer {
	r.t.Helper()
	a := r.site.ask(method, target, body, headers...)
	r.judge(method+" "+target, fmt.Sprint(a.header)+a.body)
	return a
}

// linesOf are the lines of a PEM file that are its key.
func linesOf(t *testing.T, name string) (lines []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "-----") {
			lines = append(lines, line)
		}
	}
	return lines
}

// devices presents every kind of credential in every dialect, right and wrong,
// and what is not even a REGISTER.
func (r *revelations) devices(c *credentials, h *hook) {
	r.t.Helper()
	s := r.site
	signed := c.signed(claims("guarded", time.Hour))
	r.forbid(signed, signed[strings.LastIndexByte(signed, '.')+1:])
	for _, mood := range []string{"allow", "garbage", "fail", "hang", "allow"} {
		h.mood.Store(mood)
		for _, token := range []string{c.shared, c.own, signed, deviceauth.NewToken(), c.own + "x", c.shared + "x", signed + "x", "Bearer " + c.own} {
			body, err := json.Marshal(map[string]string{"id": "guarded", "token": token})
			if err != nil {
				r.t.Fatal(err)
			}
			for _, said := range []string{
				frame(tRegister, string(body)),
				"REGISTER guarded " + token + "\n",
				"REGISTER " + token + " guarded\xff\n" + "AUTH " + token + "\n" + "BYE\n",
				"\x01#guarded " + token,
				frame(tRegister, string(body[:len(body)-1])),
				frame(tRegister, `{"id":"guarded","token":{"`+token+`":1}}`),
			} {
				if mood != "allow" && said[0] != 1 {
					continue // one dialect is enough to ask the hook
				}
				for _, p := range []*peer{s.mustEncrypt(), s.dial()} { // what is plain is refused
					_ = p.send(said)
					_ = p.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					b := make([]byte, 4096)
					n, _ := p.Read(b) // an answer, or none in time
					r.judge("an answer to a device", string(b[:n]))
					p.Close()
				}
			}
		}
		h.CloseClientConnections()
	}
}

// callers presents keys, right and wrong, makes one, and uses it up.
func (r *revelations) callers() {
	r.t.Helper()
	for _, headers := range [][]string{
		{}, {"Authorization", "Bearer " + rightKey + "x"}, {"Authorization", "Basic " + rightKey}, {"Authorization", rightKey},
		{"Authorization", "", "X-Api-Key", rightKey + "x"}, {"Authorization", "Bearer " + rightKey, "Origin", "https://evil.example"},
	} {
		r.ask("GET", "/v1/clients?key="+rightKey, "", headers...)
		r.ask("POST", "/v1/clients/guarded/messages", `{"text":"x","key":"y"}`, headers...)
		r.ask("POST", "/v1/clients/guarded/messages", `{"text":`, headers...)
		r.ask("POST", "/v1/clients/guarded/messages?token="+rightKey, "x", append(headers, "Content-Type", "text/plain", "Idempotency-Key", "k")...)
	}
	var k struct{ ID, Secret string }
	made := r.site.ask("POST", "/v1/keys", `{"name":"of the test","scopes":["clients:read"]}`) // the one answer with a secret
	if err := json.Unmarshal([]byte(made.body), &k); err != nil || k.Secret == "" {
		r.t.Fatalf("create a key: %d %s", made.status, made.body)
	}
	r.forbid(k.Secret)
	for _, target := range []string{"/v1/clients", "/v1/keys", "/v1/nothing", "/metrics"} {
		r.ask("GET", target, "", "Authorization", "Bearer "+k.Secret)
	}
	r.ask("GET", "/v1/keys", "")
	r.ask("GET", "/v1/keys/"+k.ID, "")
	r.ask("DELETE", "/v1/keys/"+k.ID, "")
	r.ask("GET", "/v1/clients", "", "Authorization", "Bearer "+k.Secret)
}

// shown looks at the settings, and at what is said of settings that are wrong.
func (r *revelations) shown(c *config.Config) {
	r.t.Helper()
	var out bytes.Buffer
	if err := config.Show(&out, c, nil); err != nil {
		r.t.Fatal(err)
	}
	rows, err := json.Marshal(config.Rows(c, nil))
	if err != nil {
		r.t.Fatal(err)
	}
	r.judge("config show", out.String())
	r.judge("config show --json", string(rows))
	r.judge("the settings, printed", fmt.Sprintf("%v %+v %#v", *c, *c, *c))
	broken := *c
	broken.Auth.APIKeys = append([]config.Secret{"not-a-key"}, c.Auth.APIKeys...)
	broken.TCP.Addr = "nowhere"
	r.judge("what is wrong with settings", fmt.Sprint(broken.Validate()))
	if !strings.Contains(out.String(), "auth.device_token") {
		r.t.Errorf("config show does not show auth.device_token at all:\n%s", out.String())
	}
}

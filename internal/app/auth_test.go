package app

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

// startLogged starts a process and keeps what it logs.
func startLogged(t *testing.T, cfg *config.Config) (*App, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	return startOn(t, cfg, slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}), time.Now), log
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// line is a text device on a socket.
type line struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

// dial connects a device, with TLS where cfg says how.
func dial(t *testing.T, a *App, cfg *tls.Config) *line {
	t.Helper()
	nc, err := net.Dial("tcp", a.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute)) // a hanging test fails by itself
	if cfg != nil {
		nc = tls.Client(nc, cfg)
	}
	return &line{t, nc, bufio.NewReader(nc)}
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.nc, text); err != nil {
		l.t.Fatalf("say: %v", err)
	}
}

// hear returns the next line but for questions for a sign of life, which it
// answers.
func (l *line) hear() string {
	l.t.Helper()
	for {
		text, err := l.in.ReadString('\n')
		if err != nil {
			l.t.Fatalf("hear: %v after %q", err, text)
		}
		if text != "PING\n" {
			return text
		}
		l.say("PONG\n")
	}
}

// register says who it is and returns the first word of the answer with the
// code, if there is one.
func register(t *testing.T, a *App, cfg *tls.Config, words ...string) (answer string, l *line) {
	t.Helper()
	l = dial(t, a, cfg)
	l.say("REGISTER " + strings.Join(words, " ") + "\n")
	first := strings.Fields(l.hear())
	if first[0] == "CLOSE" {
		return strings.Join(first[:2], " "), l
	}
	return first[0], l
}

func wantAnswer(t *testing.T, a *App, cfg *tls.Config, want string, words ...string) *line {
	t.Helper()
	got, l := register(t, a, cfg, words...)
	if got != want {
		t.Errorf("%s is answered %s, want %s", words[0], got, want)
	}
	return l
}

// newToken adds a token to a file and returns it.
func newToken(t *testing.T, file string, e deviceauth.TokenEntry) string {
	t.Helper()
	token := deviceauth.NewToken()
	sum := deviceauth.HashToken(token)
	e.SHA256 = hex.EncodeToString(sum[:])
	if err := deviceauth.AddToken(file, e); err != nil {
		t.Fatal(err)
	}
	return token
}

// A device comes in with its token in each dialect, and not without; the file
// changes under the running process; who was refused is listed.
func TestTokensOfDevices(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceTokensFile = filepath.Join(t.TempDir(), "tokens")
	cfg.Auth.DeviceV1Token = true
	own := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "meter-1"})
	fleet := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Pattern: "truck-*"})
	a, log := startLogged(t, cfg)

	wantAnswer(t, a, nil, "REGISTERED", "meter-1", own)
	wantAnswer(t, a, nil, "REGISTERED", "truck-9", fleet)
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-1", fleet)
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-1")
	wantAnswer(t, a, nil, "CLOSE 3501", "stranger", deviceauth.NewToken())
	for _, v1 := range []struct{ hello, want string }{{"\x01#meter-1", "\x02#er"}, {"\x01#meter-1 " + own, "\x02#ok"}} {
		l := dial(t, a, nil)
		l.say(v1.hello)
		answer := make([]byte, 4)
		if _, err := io.ReadFull(l.in, answer); err != nil || string(answer) != v1.want {
			t.Errorf("v1 %q is answered %q, %v; want %q", v1.hello, answer, err, v1.want)
		}
	}

	var ids []string
	for k, err := range backend(t, a).Refused(t.Context(), client.RefusedQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, k.Client+" "+k.Reason)
	}
	if got := strings.Join(ids, ", "); !strings.HasSuffix(got, "stranger unknown_device") {
		t.Errorf("refused were %s", got)
	}

	if _, err := deviceauth.RevokeTokens(cfg.Auth.DeviceTokensFile, func(e *deviceauth.TokenEntry) bool { return e.Client == "meter-1" }); err != nil {
		t.Fatal(err)
	}
	a.auth.Reload()
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-1", own)
	wantAnswer(t, a, nil, "REGISTERED", "truck-9", fleet)
	wantMetric(t, a, `longwire_device_auth_total{method="token",reason="accepted"} 4`)
	wantMetric(t, a, `longwire_device_auth_total{method="token",reason="other_client"} 1`)
	if !strings.Contains(log.String(), `"msg":"registration refused","client":"stranger","remote":"127.0.0.1:`) {
		t.Errorf("the log does not say who was refused:\n%s", log)
	}
	for _, secret := range []string{own, fleet} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log has a token")
		}
	}
}

// wantMetric waits for a line of the metrics: a device reads its CLOSE before
// the gateway has counted the end of the connection.
func wantMetric(t *testing.T, a *App, want string) {
	t.Helper()
	waitFor(t, func() bool {
		r, err := http.Get(a.url() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		page, err := io.ReadAll(r.Body)
		return err == nil && strings.Contains(string(page), "\n"+want+"\n")
	})
}

// signedToken returns a token and a file with the key that verifies it.
func signedToken(t *testing.T, claims map[string]any) (token, keys string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	keys = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keys, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64(body)
	return text + "." + b64(ed25519.Sign(private, []byte(text))), keys
}

// A signed token ends with its time, and the connection with it.
func TestConnectionEndsWithItsToken(t *testing.T) {
	t.Parallel() // waits for the end of the token
	token, keys := signedToken(t, map[string]any{"sub": "meter-1", "exp": time.Now().Add(4 * time.Second).Unix()})
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceJWTKeys, cfg.Auth.DeviceJWTLeeway = keys, 0
	a, log := startLogged(t, cfg)
	l := wantAnswer(t, a, nil, "REGISTERED", "meter-1", token)
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-2", token)
	if got := l.hear(); !strings.HasPrefix(got, "CLOSE 3006 ") || !strings.HasSuffix(got, "credentials_expired\n") {
		t.Errorf("at the end of the token the device heard %q", got)
	}
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-1", token)
	if strings.Contains(log.String(), token) || strings.Contains(log.String(), token[len(token)-30:]) {
		t.Error("the log has the token")
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := &authority{t: t}
	ca.cert, ca.key, _ = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "plant CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: time.Now().Add(time.Hour)})
	return ca
}

// sign returns a certificate by this authority, or the authority's own.
func (ca *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, tls.Certificate) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute)
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return signed, key, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// device returns the TLS side of a device whose certificate names it.
func (ca *authority) device(name string, until time.Time) *tls.Config {
	_, _, pair := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	c := ca.trusting()
	c.Certificates = []tls.Certificate{pair}
	return c
}

// trusting is the TLS side of a device without a certificate.
func (ca *authority) trusting() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{RootCAs: roots, ServerName: "gateway.example"}
}

// serving writes the gateway's certificate, and the authority's.
func (ca *authority) serving(cfg *config.TCP) {
	ca.t.Helper()
	_, key, pair := ca.sign(&x509.Certificate{DNSNames: []string{"gateway.example"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	dir := ca.t.TempDir()
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			ca.t.Fatal(err)
		}
		return name
	}
	cfg.TLS, cfg.TLSClientAuth = config.Optional, config.Optional
	cfg.TLSCertFile = write("cert.pem", "CERTIFICATE", pair.Certificate[0])
	cfg.TLSKeyFile = write("key.pem", "PRIVATE KEY", private)
	cfg.TLSClientCAFile = write("ca.pem", "CERTIFICATE", ca.cert.Raw)
}

// A device proves with its certificate which one it is.
func TestDeviceIsWhoItsCertificateSays(t *testing.T) {
	t.Parallel() // waits for the end of a certificate
	ca := newAuthority(t)
	cfg := testConfig(t.TempDir())
	ca.serving(&cfg.TCP)
	cfg.Auth.DeviceCertificateID = "cn"
	a, _ := startLogged(t, cfg)

	meter := ca.device("meter-1", time.Now().Add(time.Hour))
	meter.ClientSessionCache = tls.NewLRUClientSessionCache(1) // a resumed session knows the certificate, too
	for range 2 {
		wantAnswer(t, a, meter, "REGISTERED", "meter-1")
	}
	wantAnswer(t, a, meter, "CLOSE 3501", "meter-2")
	wantAnswer(t, a, ca.trusting(), "CLOSE 3501", "meter-1")
	wantAnswer(t, a, nil, "CLOSE 3501", "meter-1")
	short := wantAnswer(t, a, ca.device("meter-3", time.Now().Add(4*time.Second)), "REGISTERED", "meter-3")
	if got := short.hear(); !strings.HasPrefix(got, "CLOSE 3006 ") {
		t.Errorf("at the end of the certificate the device heard %q", got)
	}
	strange := newAuthority(t).device("meter-1", time.Now().Add(time.Hour))
	strange.RootCAs = ca.trusting().RootCAs
	l := dial(t, a, strange)
	l.say("REGISTER meter-1\n")
	if text, err := l.in.ReadString('\n'); err == nil && !strings.HasPrefix(text, "CLOSE") {
		t.Errorf("a certificate of another authority is answered %q", text)
	}
}

// Ids become known by registering, or when a message is queued for them.
func TestListedDevices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, testConfig(dir))
	wantAnswer(t, first, nil, "REGISTERED", "old")
	_, err := backend(t, first).Push(t.Context(), "expected", client.Push{Payload: client.Text("hi"), QueueUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(dir)
	cfg.Auth.DeviceUnknown = "listed"
	a := start(t, cfg)
	wantAnswer(t, a, nil, "REGISTERED", "old")
	wantAnswer(t, a, nil, "REGISTERED", "expected")
	wantAnswer(t, a, nil, "CLOSE 3501", "new")
}

// A hook that cannot answer keeps devices out, and lets them come back.
func TestHookOfTheProcess(t *testing.T) {
	ok := true
	var mu sync.Mutex
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !ok || r.Header.Get("Authorization") != "Bearer SECRET-hook" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var q deviceauth.Question
		err := json.NewDecoder(r.Body).Decode(&q)
		fmt.Fprintf(w, `{"allow":%v}`, err == nil && q.Token == "SECRET-right" && q.Remote == "127.0.0.1" && q.Dialect == "text")
	}))
	defer hook.Close()
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceHookURL, cfg.Auth.DeviceHookSecret = hook.URL, "SECRET-hook"
	a, log := startLogged(t, cfg)
	wantAnswer(t, a, nil, "REGISTERED", "m", "SECRET-right")
	wantAnswer(t, a, nil, "CLOSE 3501", "m", "SECRET-wrong")
	mu.Lock()
	ok = false
	mu.Unlock()
	wantAnswer(t, a, nil, "CLOSE 3005", "n", "SECRET-right")
	wantAnswer(t, a, nil, "REGISTERED", "m", "SECRET-right") // remembered
	wantMetric(t, a, `longwire_device_auth_hook_answers_total{answer="failed"} 1`)
	wantMetric(t, a, `longwire_device_auth_hook_breaker 0`)
	if strings.Contains(log.String(), "SECRET") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}

// A connection that broke while the hook decided does not close the one that serves.
func TestABrokenConnectionTakesNoIDFromALiveOne(t *testing.T) {
	asked, decide := make(chan struct{}), make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q deviceauth.Question
		if json.NewDecoder(r.Body).Decode(&q) == nil && q.Token == "slow" {
			close(asked)
			<-decide
		}
		io.WriteString(w, `{"allow":true}`)
	}))
	defer hook.Close()
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceHookURL = hook.URL
	cfg.TCP.Driver = "portable" // it looks at the socket itself
	a := start(t, cfg)
	defer a.Stop(t.Context())
	live := wantAnswer(t, a, nil, "REGISTERED", "m", "fast")
	broken := dial(t, a, nil)
	broken.say("REGISTER m slow\n")
	<-asked
	broken.nc.(*net.TCPConn).SetLinger(0)
	broken.nc.Close()
	close(decide)
	waitFor(t, func() bool { return a.tcp.Stats().Open == 1 })
	live.say("PING\n")
	if heard := live.hear(); heard != "PONG" && heard != "PONG\n" {
		t.Errorf("the live connection hears %q, want PONG", heard)
	}
}

func TestStartIsRefusedWithoutTheTokenFile(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceTokensFile = filepath.Join(t.TempDir(), "nowhere")
	if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("without its token file: %v", err)
	}
}

// A text device learns that its token admitted nobody: an id with a space in it is an id
// and a token.
func TestATokenThatIsNotCheckedIsNamed(t *testing.T) {
	const words = "the word after the id is a token, and this server does not check it"
	for _, c := range []struct {
		name, token, line string
		named             bool
	}{
		{"no token needed", "", "REGISTER my lock", true},
		{"no token needed, none given", "", "REGISTER my", false},
		{"a right token", "lock", "REGISTER my lock", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.Auth.DeviceToken = config.Secret(c.token)
			a := start(t, cfg)
			nc, err := net.Dial("tcp", a.TCPAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintln(nc, c.line)
			answer, err := bufio.NewReader(nc).ReadString('\n')
			if err != nil || !strings.HasPrefix(answer, "REGISTERED ses_") || strings.Contains(answer, words) != c.named {
				t.Errorf("%s is answered %q, %v; want REGISTERED, and the words about the token: %v", c.line, answer, err, c.named)
			}
		})
	}
}

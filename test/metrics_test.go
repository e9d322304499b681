package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "write the table of docs/guide/metrics.md")

const metricsPage = "../docs/guide/metrics.md"

// family is a metric as /metrics of a new gateway shows it.
type family struct {
	kind, help string
	labels     []string
	values     map[string][]string // by label
	samples    []string            // their values
}

// certificate makes a certificate for localhost, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &form, &form, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// scraped returns the metrics of a new gateway that has everything that has
// metrics: a hook, and a certificate.
func scraped(t *testing.T) map[string]*family {
	t.Helper()
	cert, key := certificate(t)
	s := serve(t, "", t.TempDir(), "--tcp-tls", "optional", "--tcp-tls-cert-file", cert, "--tcp-tls-key-file", key,
		"--auth-device-hook-url", "http://127.0.0.1:1/")
	resp, err := s.http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*family{}
	sample := regexp.MustCompile(`^(longwire_\w+?)(_bucket|_sum|_count)?(?:\{(.*)\})? (\S+)$`)
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if name, help, ok := strings.Cut(strings.TrimPrefix(line, "# HELP "), " "); ok && strings.HasPrefix(line, "# HELP longwire_") {
			families[name] = &family{help: help, values: map[string][]string{}}
		} else if name, kind, ok := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " "); ok && strings.HasPrefix(line, "# TYPE longwire_") {
			families[name].kind = kind
		} else if m := sample.FindStringSubmatch(line); m != nil {
			f := families[m[1]]
			if f == nil {
				f = families[m[1]+m[2]]
			}
			f.samples = append(f.samples, m[4])
			for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(m[3], -1) {
				if l[1] != "le" && !slices.Contains(f.labels, l[1]) {
					f.labels = append(f.labels, l[1])
				}
				f.values[l[1]] = append(f.values[l[1]], l[2])
			}
		}
	}
	if len(families) < 50 {
		t.Fatalf("%d metrics were found in %s", len(families), page)
	}
	return families
}

// The table of docs/guide/metrics.md has every metric and no other.
func TestEveryMetricIsInTheTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	families := scraped(t)
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range families {
			if !yield(name) {
				return
			}
		}
	})
	for _, name := range names {
		f := families[name]
		var labels []string
		for _, l := range slices.Sorted(slices.Values(f.labels)) {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, f.kind, strings.Join(labels, ", "), f.help)
	}
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	text, got, _ := strings.Cut(string(page), "| metric |")
	got = "| metric |" + got
	if *update {
		if err := os.WriteFile(metricsPage, []byte(text+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != table.String() {
		t.Errorf("the table is not that of /metrics: run go test ./test -run %s -update\ngot:\n%s\nwant:\n%s", t.Name(), got, table.String())
	}
}

// An alert on the first failure needs the 0 before it.
func TestCountersBeginAtZero(t *testing.T) {
	for name, f := range scraped(t) {
		if len(f.samples) == 0 {
			t.Errorf("%s has no value", name)
		}
		if f.kind == "counter" && !slices.Contains(f.samples, "0") && name != "longwire_tls_certificate_loads_total" &&
			name != "longwire_store_records_total" && name != "longwire_store_events_total" {
			t.Errorf("%s of a new gateway has %v", name, f.samples)
		}
	}
}

// expressions returns the queries of the alerts and of the dashboard, by name.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	text, err := os.ReadFile("../deploy/prometheus-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err = os.ReadFile("../deploy/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s, %d", p.Title, i)] = target.Expr
		}
	}
	if len(all) < 30 {
		t.Fatalf("%d queries found", len(all))
	}
	return all
}

// A query on a metric or a label that does not exist shows nothing, for ever.
func TestAlertsAndDashboardNameWhatThereIs(t *testing.T) {
	families := scraped(t)
	metric := regexp.MustCompile(`(longwire_\w+)(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouped := regexp.MustCompile(`by \(([^)]*)\)`)
	for name, expr := range expressions(t) {
		known := map[string]bool{"le": true}
		for _, m := range metric.FindAllStringSubmatch(expr, -1) {
			f := families[m[1]]
			if f == nil {
				f = families[strings.TrimSuffix(m[1], "_bucket")]
			}
			if f == nil {
				t.Errorf("%s: no metric is called %s", name, m[1])
				continue
			}
			for _, l := range f.labels {
				known[l] = true
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				fits := func(v string) bool {
					return v == l[3] || strings.HasSuffix(l[2], "~") && regexp.MustCompile("^(?:"+l[3]+")$").MatchString(v)
				}
				if !slices.Contains(f.labels, l[1]) || l[1] != "code" && !slices.ContainsFunc(f.values[l[1]], fits) {
					t.Errorf("%s: %s has no label %s with the value %s", name, m[1], l[1], l[3])
				}
			}
		}
		for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				if l = strings.TrimSpace(l); !known[l] {
					t.Errorf("%s: nothing has the label %s", name, l)
				}
			}
		}
	}
}

// promtool reads the queries as Prometheus would.
func TestPrometheusReadsTheQueries(t *testing.T) {
	promtool := tool(t, "promtool")
	type rule struct {
		Alert string `yaml:"alert"`
		Expr  string `yaml:"expr"`
	}
	var rules []rule
	for name, expr := range expressions(t) {
		rules = append(rules, rule{name, strings.ReplaceAll(expr, "$__rate_interval", "5m")})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "all", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, "../deploy/prometheus-rules.yaml"} {
		if out, err := exec.Command(promtool, "check", "rules", f).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// file writes a file and returns its name.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "longwire.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// flags returns parsed flags.
func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func load(t *testing.T, o LoadOptions) (*Config, Provenance) {
	t.Helper()
	c, from, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, from
}

// refused returns the error's text with the file's name shortened.
func refused(t *testing.T, o LoadOptions) string {
	t.Helper()
	c, _, err := Load(o)
	if err == nil {
		t.Fatalf("loaded %+v, want an error", c)
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Fatalf("error is a %T, want *Error", err)
	}
	if o.File != "" {
		return strings.ReplaceAll(err.Error(), o.File, "FILE")
	}
	return err.Error()
}

// settingsOnly compares the settings of a Config, and not where they came from.
var settingsOnly = cmpopts.IgnoreUnexported(Config{})

func TestDefaultsAreValid(t *testing.T) {
	c, from := load(t, LoadOptions{})
	if diff := cmp.Diff(Default(), c, settingsOnly); diff != "" {
		t.Errorf("without sources (-default +got):\n%s", diff)
	}
	if got := from.Of("tcp.addr").String(); got != "default" {
		t.Errorf("source is %q, want default", got)
	}
}

// A later source wins, and each value knows where it comes from.
func TestOrderOfSources(t *testing.T) {
	file := writeFile(t, "tcp:\n  addr: 127.0.0.1:1\n  window: 4\n  grace: 1s\nlog:\n  level: debug\n")
	c, from := load(t, LoadOptions{
		File:  file,
		Env:   []string{"LONGWIRE_TCP_WINDOW=5", "LONGWIRE_TCP_ADDR=127.0.0.1:2", "HOME=/", "LONGWIRE_TCP_GRACE="},
		Flags: flags(t, "--tcp-addr", "127.0.0.1:3"),
	})
	for key, want := range map[string][2]string{
		"tcp.addr":      {"127.0.0.1:3", "flag --tcp-addr"},
		"tcp.window":    {"5", "env LONGWIRE_TCP_WINDOW"},
		"tcp.grace":     {"1s", "file " + file + ":4:10"},
		"log.level":     {"debug", "file " + file + ":6:10"},
		"tcp.heartbeat": {"10s", "default"},
	} {
		for _, r := range Rows(c, from) {
			if r.Key == key && (r.Value != want[0] || r.Source != want[1]) {
				t.Errorf("%s is %s from %s, want %s from %s", key, r.Value, r.Source, want[0], want[1])
			}
		}
	}
	if c.TCP.Addr != "127.0.0.1:3" || c.TCP.Window != 5 || c.TCP.Grace != second {
		t.Errorf("config is %+v", c.TCP)
	}
}

// Every setting can be given in each of the three ways, under names that follow
// from its key, and arrives.
func TestEverySettingFromEverySource(t *testing.T) {
	other := map[string]string{ // values that differ from the defaults and are valid
		"tcp.addr": "127.0.0.1:7001", "http.addr": "[::1]:7002", "tcp.duplicate_id": "reject", "tcp.driver": "portable", "simulator.enabled": "on", "data.engine": "memory",
		"data.dir": "/tmp/x", "log.level": "warn", "log.format": "json", "http.access_log": "true", "insecure": "true",
		"http.hosts": "a.example,b.example", "auth.api_keys": "lwk_0123456789abcdef,lwk_0123456789ABCDEF",
		"auth.device_token": "t0ken", "data.status_retention": "9d", "data.uplink_retention": "3d", "http.max_wait": "30s",
		"tcp.output_budget": "2MiB", "tcp.input_budget": "2MiB", "tcp.output_memory": "3MiB", "tcp.max_heartbeat": "2m", "http.proxy_trusted": "10.1.0.0/16", "http.max_header": "16KiB", "http.max_body": "3MiB", "data.max_disk": "10GiB",
		"events.buffer_bytes": "1MiB", "events.timeline": "false", "events.timeline_memory": "32MiB", "events.retain": "2d", "events.max_bytes": "1GiB", "webhooks.allow_networks": "10.2.0.0/16", "tcp.max_unregistered_per_ip": "7", "http.read_timeout": "31s", "http.read_header_timeout": "6s",
		"tcp.tls": "required", "tcp.tls_cert_file": "/tmp/c", "tcp.tls_key_file": "/tmp/k", "http.tls_cert_file": "/tmp/c", "http.tls_key_file": "/tmp/k",
		"tcp.tls_client_auth": "optional", "tcp.tls_client_ca_file": "/tmp/ca", "tcp.proxy_trusted": "10.0.0.0/8,fd00::1", "tcp.memory_limit": "1GiB", "tcp.client_byte_rate": "1MiB", "tcp.delivery_byte_rate": "2MiB",
		"auth.device_tokens_file": "/tmp/t", "auth.device_jwt_keys": "/tmp/k", "auth.device_jwt_issuer": "i", "auth.device_jwt_audience": "a",
		"auth.device_certificate_id": "cn", "auth.device_revoked_file": "/tmp/crl", "auth.device_hook_url": "https://hook.example/", "auth.device_hook_secret": "s", "auth.device_hook_mode": "monitor",
		"auth.device_require": "all", "auth.device_groups": "yard,fleet-a", "auth.device_unknown": "pattern", "auth.device_patterns": "a*,b?", "auth.device_v1_token": "true",
		"data.min_free": "1GiB", "delivery.default_ttl": "2h", "delivery.max_queued_bytes": "1MiB", "tcp.max_unregistered": "7777", "clients.forget_after": "5h",
		"http.cors_origins": "https://a.example,http://localhost:3000", "http.max_bodies": "1GiB", "audit.file": "/tmp/audit.log",
	}
	needs := map[string][]string{ // settings that are wrong without others
		"tcp.tls":                    {"tcp.tls_cert_file", "tcp.tls_key_file"},
		"auth.device_jwt_issuer":     {"auth.device_jwt_keys"},
		"auth.device_jwt_audience":   {"auth.device_jwt_keys"},
		"auth.device_unknown":        {"auth.device_patterns"},
		"auth.device_certificate_id": {"tcp.tls_client_auth", "tcp.tls_client_ca_file", "tcp.tls", "tcp.tls_cert_file", "tcp.tls_key_file"},
		"auth.device_revoked_file":   {"auth.device_certificate_id", "tcp.tls_client_auth", "tcp.tls_client_ca_file", "tcp.tls", "tcp.tls_cert_file", "tcp.tls_key_file"},
		"tcp.tls_cert_file":          {"tcp.tls_key_file"},
		"tcp.tls_key_file":           {"tcp.tls_cert_file"},
		"http.tls_cert_file":         {"http.tls_key_file"},
		"http.tls_key_file":          {"http.tls_cert_file"},
		"tcp.tls_client_auth":        {"tcp.tls_client_ca_file", "tcp.tls", "tcp.tls_cert_file", "tcp.tls_key_file"},
		"tcp.tls_client_ca_file":     {"tcp.tls_client_auth", "tcp.tls", "tcp.tls_cert_file", "tcp.tls_key_file"},
	}
	for _, s := range settings(Default()) {
		value, ok := other[s.key]
		if !ok {
			switch s.kind() {
			case "duration":
				value = "7s"
			case "int":
				value = "77"
			default:
				t.Fatalf("%s needs a value in this test", s.key)
			}
		}
		group, name, _ := strings.Cut(s.key, ".")
		yaml := fmt.Sprintf("%s:\n  %s: %q\n", group, name, value)
		if name == "" {
			yaml = fmt.Sprintf("%s: %s\n", group, value)
		}
		want := Default()
		if err := settingCalled(want, s.key).set(value); err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(want, Default(), settingsOnly) {
			t.Errorf("%s: %s is the default", s.key, value)
		}
		var besides []string
		for _, key := range needs[s.key] {
			with := settingCalled(want, key)
			besides = append(besides, with.env+"="+other[key])
			if err := with.set(other[key]); err != nil {
				t.Fatal(err)
			}
		}
		for source, o := range map[string]LoadOptions{
			"file": {File: writeFile(t, yaml), Env: besides},
			"env":  {Env: append([]string{s.env + "=" + value}, besides...)},
			"flag": {Flags: flags(t, "--"+s.flag+"="+value), Env: besides},
		} {
			c, from := load(t, o)
			if diff := cmp.Diff(want, c, settingsOnly); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s", s.key, source, diff)
			}
			if got := from.Of(s.key).Kind; got != source {
				t.Errorf("%s by %s comes from %s", s.key, source, got)
			}
		}
	}
}

func TestFileErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown setting", "tcp:\n  adr: 127.0.0.1:1\n", `
FILE:2:3: unknown setting tcp.adr (did you mean tcp.addr?)
    2 |   adr: 127.0.0.1:1
          ^`},
		{"setting without its section", "heartbeat: 10s\n", `
FILE:1:1: unknown setting heartbeat (did you mean tcp.heartbeat?)
    1 | heartbeat: 10s
        ^`},
		{"unknown section", "tpc:\n  addr: 127.0.0.1:1\n", `
FILE:1:1: unknown setting tpc (did you mean tcp?)
    1 | tpc:
        ^`},
		{"nothing like it", "tcp:\n  frobnicate: 1\n", `
FILE:2:3: unknown setting tcp.frobnicate
    2 |   frobnicate: 1
          ^`},
		{"twice", "tcp:\n  window: 1\n  window: 2\n", `
FILE:3:3: mapping key "window" already defined at [2:3]
    3 |   window: 2
          ^`},
		{"bad duration", "tcp:\n  heartbeat: 10 seconds\n", `
FILE:2:14: tcp.heartbeat: "10 seconds" is not a duration: want a number and a unit, as in 300ms, 10s, 5m, 24h or 7d
    2 |   heartbeat: 10 seconds
                     ^`},
		{"no unit", "tcp:\n  heartbeat: 10\n", `
FILE:2:14: tcp.heartbeat: "10" is not a duration: want a number and a unit, as in 300ms, 10s, 5m, 24h or 7d
    2 |   heartbeat: 10
                     ^`},
		{"out of range", "tcp:\n  window: 300\n", `
FILE:2:11: tcp.window: 300 is more than the most, 256
    2 |   window: 300
                  ^`},
		{"none of", "log:\n  level: wran\n", `
FILE:2:10: log.level: "wran" is none of debug, info, warn, error (did you mean warn?)
    2 |   level: wran
                 ^`},
		{"empty value", "tcp:\n  addr:\n", `
FILE:2:3: tcp.addr: has no value; remove the line, or give it one
    2 |   addr:
          ^`},
		{"a mapping for a value", "tcp:\n  addr:\n    host: x\n", `
FILE:3:9: tcp.addr: want one value (string)
    3 |     host: x
                ^`},
		{"a list for a value", "tcp:\n  addr: [a, b]\n", `
FILE:2:9: tcp.addr: want one value (string)
    2 |   addr: [a, b]
                ^`},
		{"a value for a section", "tcp: 6666\n", `
FILE:1:6: tcp: want settings, each a name, a colon and a value
    1 | tcp: 6666
             ^`},
		{"a list for a file", "- tcp\n", `
FILE:1:1: want settings, each a name, a colon and a value`},
		{"two documents", "insecure: true\n---\ninsecure: false\n", `
FILE:3:1: a second document; the file holds one
    3 | insecure: false
        ^`},
		{"a document behind an empty one", "---\n# nothing\n---\ninsecure: true\n", `
FILE:4:1: a second document; the file holds one
    4 | insecure: true
        ^`},
		{"broken", "tcp:\n  addr: \"127.0.0.1:1\n", `
FILE:2:9: could not find end character of double-quoted text
    2 |   addr: "127.0.0.1:1
                ^`},
		{"a tab", "tcp:\n\taddr: 127.0.0.1:1\n", `
FILE:2:1: a tab indents this line: YAML takes spaces
    2 | 	addr: 127.0.0.1:1
        ^`},
		{"an alias", "tcp:\n  addr: *x\n", `
FILE:2:9: tcp.addr: want one value (string)
    2 |   addr: *x
                ^`},
		{"everything at once", "tcp:\n  window: x\n  grace: y\nfrobnicate: 1\n", `
FILE:2:11: tcp.window: "x" is not a whole number
    2 |   window: x
                  ^
FILE:3:10: tcp.grace: "y" is not a duration: want a number and a unit, as in 300ms, 10s, 5m, 24h or 7d
    3 |   grace: y
                 ^
FILE:4:1: unknown setting frobnicate
    4 | frobnicate: 1
        ^`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := refused(t, LoadOptions{File: writeFile(t, c.text)})
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	if got := refused(t, LoadOptions{File: "/nowhere/x.yaml"}); !strings.Contains(got, "cannot read it") {
		t.Errorf("error is %q", got)
	}
	big := writeFile(t, "# "+strings.Repeat("x", maxFile))
	if got := refused(t, LoadOptions{File: big}); got != "FILE: larger than 1MiB" {
		t.Errorf("error is %q", got)
	}
}

func TestEmptyFilesAreFine(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "tcp:\nhttp:\n", "---\n"} {
		if c, _ := load(t, LoadOptions{File: writeFile(t, text)}); !cmp.Equal(c, Default(), settingsOnly) {
			t.Errorf("%q changes the defaults", text)
		}
	}
}

// A file may end with the line that begins a document.
func TestAnEmptyDocumentAtTheEndIsFine(t *testing.T) {
	for _, text := range []string{"tcp: {window: 1}\n---\n", "---\ntcp: {window: 1}\n---\n# nothing\n---\n", "--- # settings\ntcp: {window: 1}\n...\n"} {
		if c, _ := load(t, LoadOptions{File: writeFile(t, text)}); c.TCP.Window != 1 {
			t.Errorf("%q: the window is %d, want 1", text, c.TCP.Window)
		}
	}
}

func TestWhoNamesTheFile(t *testing.T) {
	a, b := writeFile(t, "tcp: {window: 1}"), writeFile(t, "tcp: {window: 2}")
	env := []string{"LONGWIRE_CONFIG=" + a}
	for want, o := range map[int]LoadOptions{1: {Env: env}, 2: {Env: env, File: b}} {
		if got, _ := load(t, o); got.TCP.Window != want {
			t.Errorf("file %d was read, want %d", got.TCP.Window, want)
		}
	}
}

func TestEnvironmentErrors(t *testing.T) {
	for env, want := range map[string]string{
		"LONGWIRE_TCP_ADRR=x":     "LONGWIRE_TCP_ADRR: unknown setting (did you mean LONGWIRE_TCP_ADDR?)",
		"LONGWIRE_TCP_WINDOW=x":   `LONGWIRE_TCP_WINDOW: tcp.window: "x" is not a whole number`,
		"LONGWIRE_TCP_WINDOW=0":   "LONGWIRE_TCP_WINDOW: tcp.window: 0 is less than the least, 1",
		"LONGWIRE_TCP_ADDR_FILE=": "LONGWIRE_TCP_ADDR_FILE: unknown setting (did you mean LONGWIRE_TCP_ADDR?)",
		"LONGWIRE_INSECURE=maybe": `LONGWIRE_INSECURE: insecure: "maybe" is neither true nor false`,
	} {
		if got := refused(t, LoadOptions{Env: []string{env}}); got != want {
			t.Errorf("%s\n got %s\nwant %s", env, got, want)
		}
	}
	for _, env := range []string{"LONGWIRE_PORT=6666", "LONGWIRE_SERVICE_HOST=localhost", "LONGWIRE_TCP_PORT=7000", "LONGWIRE_SERVICE_PORT=http", "LONGWIRE_NAME=lab", "LONGWIRE_ENVIRONMENT=lab"} {
		if got := refused(t, LoadOptions{Env: []string{env}}); !strings.Contains(got, "unknown setting") {
			t.Errorf("%s, which no orchestrator sets: %s", env, got)
		}
	}
	load(t, LoadOptions{Env: []string{ // of services longwire and longwire-devices
		"LONGWIRE_SERVICE_HOST=10.0.0.1", "LONGWIRE_SERVICE_PORT=8080", "LONGWIRE_SERVICE_PORT_HTTP=8080", "LONGWIRE_PORT=tcp://10.0.0.1:8080",
		"LONGWIRE_PORT_8080_TCP=tcp://10.0.0.1:8080", "LONGWIRE_PORT_8080_TCP_PROTO=tcp", "LONGWIRE_PORT_8080_TCP_PORT=8080", "LONGWIRE_PORT_8080_TCP_ADDR=10.0.0.1",
		"LONGWIRE_NAME=/web/longwire", "LONGWIRE_1_NAME=/web_1/longwire_1", "LONGWIRE_ENV_PATH=/bin", "LONGWIRE_1_ENV_GOLANG_VERSION=", // of links
		"LONGWIRE_DEVICES_SERVICE_HOST=fd00::1", "LONGWIRE_DEVICES_PORT=tcp://[fd00::1]:6666", "LONGWIRE_DEVICES_PORT_6666_TCP_ADDR=fd00::1"}})
	load(t, LoadOptions{Env: []string{"LONGWIRE_SERVER=x", "LONGWIRE_"}, IgnoreEnv: []string{"LONGWIRE_SERVER", "LONGWIRE_"}})
}

func TestSecretsFromFiles(t *testing.T) {
	keys := writeFile(t, "lwk_0123456789abcdef\nlwk_0123456789ABCDEF\n")
	token := writeFile(t, "  s3cret\n")
	c, from := load(t, LoadOptions{Env: []string{"LONGWIRE_AUTH_API_KEYS_FILE=" + keys, "LONGWIRE_AUTH_DEVICE_TOKEN_FILE=" + token}})
	if len(c.Auth.APIKeys) != 2 || c.Auth.APIKeys[1].Reveal() != "lwk_0123456789ABCDEF" || c.Auth.DeviceToken.Reveal() != "s3cret" {
		t.Errorf("%d keys, token of %d bytes", len(c.Auth.APIKeys), len(c.Auth.DeviceToken))
	}
	if got := from.Of("auth.device_token").String(); got != "env LONGWIRE_AUTH_DEVICE_TOKEN_FILE" {
		t.Errorf("source is %q", got)
	}
	got := refused(t, LoadOptions{Env: []string{"LONGWIRE_AUTH_DEVICE_TOKEN=x", "LONGWIRE_AUTH_DEVICE_TOKEN_FILE=" + token}})
	if !strings.Contains(got, "use one of them") {
		t.Errorf("both given: %s", got)
	}
	if got := refused(t, LoadOptions{Env: []string{"LONGWIRE_AUTH_API_KEYS_FILE=/nowhere"}}); !strings.Contains(got, "/nowhere") {
		t.Errorf("no such file: %s", got)
	}
}

// TestFilesOfWindowsEditors: a byte order mark is no part of the first name or secret,
// and UTF-16 is named.
func TestFilesOfWindowsEditors(t *testing.T) {
	c, _ := load(t, LoadOptions{File: writeFile(t, "\ufefftcp:\r\n  window: 3\r\n"), Env: []string{"LONGWIRE_AUTH_DEVICE_TOKEN_FILE=" + writeFile(t, "\ufeffs3cret\r\n"),
		"LONGWIRE_AUTH_API_KEYS_FILE=" + writeFile(t, "\ufefflwk_0123456789abcdef\r\nlwk_0123456789ABCDEF\r\n")}})
	if c.TCP.Window != 3 || c.Auth.DeviceToken.Reveal() != "s3cret" || len(c.Auth.APIKeys) != 2 || c.Auth.APIKeys[0].Reveal() != "lwk_0123456789abcdef" {
		t.Errorf("window %d, token of %d bytes, %d keys", c.TCP.Window, len(c.Auth.DeviceToken), len(c.Auth.APIKeys))
	}
	wide := writeFile(t, "\xff\xfes\x003\x00")
	for _, o := range []LoadOptions{{File: wide}, {Env: []string{"LONGWIRE_AUTH_DEVICE_TOKEN_FILE=" + wide}}} {
		if got := refused(t, o); !strings.Contains(got, "UTF-16; save it as UTF-8") {
			t.Errorf("%s", got)
		}
	}
}

// TestAnEmptySecretIsRefused: it would open what the secret is to guard.
func TestAnEmptySecretIsRefused(t *testing.T) {
	for _, name := range []string{"LONGWIRE_AUTH_API_KEYS_FILE", "LONGWIRE_AUTH_DEVICE_TOKEN_FILE", "LONGWIRE_AUTH_DEVICE_HOOK_SECRET_FILE"} {
		for _, text := range []string{"", " \r\n\n"} {
			if got := refused(t, LoadOptions{Env: []string{name + "=" + writeFile(t, text)}}); !strings.Contains(got, "is empty") {
				t.Errorf("%s with %q: %s", name, text, got)
			}
		}
	}
}

// TestAConfigurationWithSecretsIsTheOwnersToWrite, like a file of secrets.
func TestAConfigurationWithSecretsIsTheOwnersToWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	for text, private := range map[string]bool{
		"auth: {api_keys: [lwk_0123456789abcdef]}": true, "auth: {device_token: s3cret}": true, "tcp: {window: 3}": false,
	} {
		file := writeFile(t, text)
		load(t, LoadOptions{File: file})
		for _, mode := range []os.FileMode{0o666, 0o660, 0o602} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			if !private {
				load(t, LoadOptions{File: file})
			} else if got := refused(t, LoadOptions{File: file}); strings.Count(got, "run: chmod go-w ") != 1 || strings.Contains(got, "s3cret") {
				t.Errorf("mode %o: %s", mode, got)
			}
		}
	}
}

// TestFilesOfSecretsArePrivate: the log at the start and the doctor name those that other
// users can read.
func TestFilesOfSecretsArePrivate(t *testing.T) {
	keys, with, without := writeFile(t, "lwk_0123456789abcdef"), writeFile(t, "auth: {device_token: s3cret}"), writeFile(t, "tcp: {window: 3}")
	for file, want := range map[string][]string{with: {with, keys}, without: {keys}} {
		c, _ := load(t, LoadOptions{File: file, Env: []string{"LONGWIRE_AUTH_API_KEYS_FILE=" + keys}})
		var got []string
		for _, p := range c.PrivateFiles() {
			if p.Kind == "secrets of the settings" && p.Key && !p.Public {
				got = append(got, p.Path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSecretsThatOthersCanWriteAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	keys := writeFile(t, "lwk_0123456789abcdef\n")
	if err := os.Chmod(keys, 0o602); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, LoadOptions{Env: []string{"LONGWIRE_AUTH_API_KEYS_FILE=" + keys}}); !strings.Contains(got, "run: chmod go-w "+keys) {
		t.Errorf("got %s, want the command that mends it", got)
	}
}

// No way of printing a configuration or an error shows a secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	const key, token = "lwk_SECRETSECRETSECRET", "SECRETtoken"
	c, from := load(t, LoadOptions{Env: []string{"LONGWIRE_AUTH_API_KEYS=" + key, "LONGWIRE_AUTH_DEVICE_TOKEN=" + token,
		"LONGWIRE_AUTH_DEVICE_HOOK_SECRET=SECRETofHook"}})
	var out bytes.Buffer
	if err := Show(&out, c, from); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %#v %v %q\n", c, c, c, c.Auth, c.Auth.APIKeys)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", c, "token", c.Auth.DeviceToken)
	if err := json.NewEncoder(&out).Encode(Rows(c, from)); err != nil {
		t.Fatal(err)
	}
	flags(t, "--auth-api-keys", key, "--auth-device-token", token).VisitAll(func(f *pflag.Flag) {
		fmt.Fprintln(&out, f.Value.String(), f.DefValue)
	})
	for _, file := range []string{
		"auth:\n  api_keys: [SECRET1]\n",
		"auth:\n  api_keys:\n    - SECRET1\n    - [SECRET]\n",
		"auth:\n  api_keys: {SECRET: 1}\n",
		"auth:\n  device_token: \"SECRET\n",
		"auth:\n  device_token: [SECRET]\n",
		"auth:\n  api_keys: [lwk_SECRETSECRETSECRET]\n  devicetoken: lwk_SECRETSECRET\n",
	} {
		_, _, err := Load(LoadOptions{File: writeFile(t, file)})
		if err == nil {
			t.Errorf("loaded %q", file)
			continue
		}
		fmt.Fprintln(&out, err)
	}
	text := strings.ReplaceAll(out.String(), "HOOK_SECRET", "") // the name of a setting
	if i := strings.Index(text, "SECRET"); i >= 0 {
		t.Errorf("a secret is printed: …%s", text[max(0, i-200):i+6])
	}
	if !strings.Contains(out.String(), "lwk_********") {
		t.Error("nothing says that a key is set")
	}
}

func TestListsByCommaAndRepeatedFlags(t *testing.T) {
	for name, o := range map[string]LoadOptions{
		"env":      {Env: []string{"LONGWIRE_HTTP_HOSTS= a, b,,"}},
		"flag":     {Flags: flags(t, "--http-hosts=a,b")},
		"repeated": {Flags: flags(t, "--http-hosts=a", "--http-hosts=b")},
		"block":    {File: writeFile(t, "http:\n  hosts:\n    - a\n    - b\n")},
		"flow":     {File: writeFile(t, "http: {hosts: [a, b]}\n")},
		"text":     {File: writeFile(t, "http:\n  hosts: a,b\n")},
	} {
		c, _ := load(t, o)
		if diff := cmp.Diff([]string{"a", "b"}, c.HTTP.Hosts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFlagsAreCheckedWhenParsed(t *testing.T) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	RegisterFlags(fs)
	if err := fs.Parse([]string{"--tcp-window", "x"}); err == nil || !strings.Contains(err.Error(), "not a whole number") {
		t.Errorf("error is %v", err)
	}
	if c, _ := load(t, LoadOptions{Flags: flags(t, "--insecure", "--http-addr", ":8080")}); !c.Insecure {
		t.Error("--insecure without a value is not true")
	}
}

// The file that Init writes changes nothing, neither as it is nor with every
// setting in force.
func TestInit(t *testing.T) {
	var b bytes.Buffer
	if err := Init(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if c, from := load(t, LoadOptions{File: writeFile(t, text)}); !cmp.Equal(c, Default(), settingsOnly) || len(from) != 0 {
		t.Errorf("as written it sets %v", from)
	}
	var all []string
	for line := range strings.Lines(text) {
		for _, s := range settings(Default()) {
			_, name, ok := strings.Cut(s.key, ".")
			if !ok {
				name = s.key
			}
			line = strings.Replace(line, "# "+name+": ", name+": ", 1)
		}
		all = append(all, line)
	}
	c, from := load(t, LoadOptions{File: writeFile(t, strings.Join(all, ""))})
	opts := cmp.Transformer("nil", func(s []Secret) []Secret { return append([]Secret{}, s...) })
	hosts := cmp.Transformer("nil2", func(s []string) []string { return append([]string{}, s...) })
	if diff := cmp.Diff(Default(), c, opts, hosts, settingsOnly); diff != "" {
		t.Errorf("in force (-default +got):\n%s", diff)
	}
	if len(from) != len(settings(c)) {
		t.Errorf("%d settings in the file, want %d", len(from), len(settings(c)))
	}
}

func TestShow(t *testing.T) {
	c, from := load(t, LoadOptions{Env: []string{"LONGWIRE_DATA_MIN_FREE=1GiB"}})
	var b bytes.Buffer
	if err := Show(&b, c, from); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if len(got) != 1+len(settings(c)) {
		t.Errorf("%d lines for %d settings", len(got), len(settings(c)))
	}
	for _, want := range []string{"tcp.addr 127.0.0.1:6666 default", "data.min_free 1GiB env LONGWIRE_DATA_MIN_FREE",
		"auth.device_token - default", "data.status_retention 7d default"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
}

// Each setting says what it is for, and its bounds can be read.
func TestSettingsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings(Default()) {
		if s.help() == "" || s.key == "" || seen[s.env] {
			t.Errorf("%s %s: without a name or a help, or twice", s.key, s.env)
		}
		seen[s.env] = true
		if text := s.wrong(); text != "" {
			t.Errorf("the default of %s: %s", s.key, text)
		}
	}
}

// Keys that were created count: whether any are left is found out when their
// file is read.
func TestAKeyFileGuardsTheAPI(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--http-addr=:1", "--data-dir=" + dir}
	if _, _, err := Load(LoadOptions{Flags: flags(t, args...)}); err == nil || !strings.Contains(err.Error(), "longwire keys create") {
		t.Errorf("without one: %v, want a refusal that names the command", err)
	}
	c := Default()
	c.Data.Dir = dir
	if err := os.WriteFile(c.APIKeyFile(), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(LoadOptions{Flags: flags(t, args...)}); err != nil {
		t.Errorf("with one: %v", err)
	}
}

// A setting that no code reads is a promise that is not kept.
func TestEverySettingIsRead(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"../app", "../cli", "../../cmd/longwire"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s has no source: %v", dir, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	for group := range reflect.TypeFor[Config]().Fields() {
		if group.Type.Kind() != reflect.Struct {
			continue
		}
		for field := range group.Type.Fields() {
			if !regexp.MustCompile(`\.` + field.Name + `\b`).MatchString(code.String()) {
				t.Errorf("no code reads %s.%s", group.Name, field.Name)
			}
		}
	}
}

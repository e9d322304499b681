package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/longwire/longwire/internal/private"
)

// minAPIKey is the least length of an API key, prefix included.
const minAPIKey = len(apiKeyPrefix) + 16

// Validate returns an *Error with everything that is wrong with c, or nil.
func (c *Config) Validate() error {
	if p := append(c.problems(), c.exposed()...); len(p) > 0 {
		return &Error{p}
	}
	return nil
}

// problems checks each setting by its tags, then the settings that depend on each
// other.
func (c *Config) problems() []Problem {
	var list []Problem
	wrong := func(key, format string, args ...any) {
		list = append(list, Problem{Setting: key, Text: fmt.Sprintf(format, args...)})
	}
	for _, s := range settings(c) {
		if text := s.wrong(); text != "" {
			wrong(s.key, "%s", text)
		}
	}
	if c.TCP.Addr == c.HTTP.Addr && !strings.HasSuffix(c.TCP.Addr, ":0") {
		wrong("http.addr", "the same as tcp.addr (%s)", c.TCP.Addr)
	}
	if c.Data.Dir == "" && c.Data.Engine == EnginePebble {
		wrong("data.dir", "is empty")
	}
	if c.HTTP.ReadTimeout < c.HTTP.ReadHeaderTimeout {
		wrong("http.read_timeout", "%v is shorter than http.read_header_timeout, %v", c.HTTP.ReadTimeout, c.HTTP.ReadHeaderTimeout)
	}
	if least := min(c.Data.StatusRetention, c.Data.UplinkRetention); c.Events.Retain > least && c.Events.Retain != Default().Events.Retain {
		wrong("events.retain", "%v is longer than data.status_retention or data.uplink_retention, %v: events refer to messages and uplinks", c.Events.Retain, least)
	}
	if c.HTTP.MaxBody > c.HTTP.MaxBodies/2 {
		wrong("http.max_body", "%v is more than half of http.max_bodies, %v, which is the most that one key may hold", c.HTTP.MaxBody, c.HTTP.MaxBodies)
	}
	if c.TCP.MaxHeartbeat < c.TCP.Heartbeat {
		wrong("tcp.max_heartbeat", "%v is shorter than tcp.heartbeat, %v", c.TCP.MaxHeartbeat, c.TCP.Heartbeat)
	}
	if c.TCP.MaxUnregisteredPerIP > c.TCP.MaxUnregistered {
		wrong("tcp.max_unregistered_per_ip", "%d is more than tcp.max_unregistered, %d", c.TCP.MaxUnregisteredPerIP, c.TCP.MaxUnregistered)
	}
	if c.Simulator.Enabled == On && !c.private() {
		wrong("simulator.enabled", "is on, and other machines can reach %s or %s: simulated devices are for listeners on loopback", c.TCP.Addr, c.HTTP.Addr)
	}
	list = append(list, c.tlsProblems()...)
	return append(list, c.deviceProblems()...)
}

// exposed finds listeners that other machines can reach and that need no
// credential.
func (c *Config) exposed() []Problem {
	if c.Insecure {
		return nil
	}
	var list []Problem
	open := func(key, addr, guard, what string) {
		s := settingCalled(c, guard)
		list = append(list, Problem{Setting: key, Text: fmt.Sprintf(
			"%s can be reached from other machines, and %s. Set %s (%s), listen on 127.0.0.1, or accept it with --insecure",
			addr, what, guard, s.env)})
	}
	if len(c.Auth.APIKeys) == 0 && !c.hasAPIKeyFile() && !IsLoopback(c.HTTP.Addr) {
		open("http.addr", c.HTTP.Addr, "auth.api_keys", `the API needs no key. Create one with "longwire keys create"`)
	}
	if !c.DevicesAreGuarded() && !IsLoopback(c.TCP.Addr) {
		open("tcp.addr", c.TCP.Addr, "auth.device_tokens_file", "not every device needs a credential")
	}
	return list
}

// private reports whether only this machine can reach the listeners.
func (c *Config) private() bool { return IsLoopback(c.TCP.Addr) && IsLoopback(c.HTTP.Addr) }

// MaySimulate reports whether the process may ever have simulated devices.
func (c *Config) MaySimulate() bool { return c.Simulator.Enabled != Off && c.private() }

// APIKeyFile returns the path of the file with the API keys.
func (c *Config) APIKeyFile() string { return filepath.Join(c.Data.Dir, "api-keys.json") }

// PrivateFiles lists the configured files that other users should not be able to
// read, or to change.
func (c *Config) PrivateFiles() []private.Place {
	list := []private.Place{
		{Kind: "API keys", Path: c.APIKeyFile(), Key: true},
		{Kind: "device tokens", Path: c.Auth.DeviceTokensFile, Key: true},
		{Kind: "keys of signed device tokens", Path: c.Auth.DeviceJWTKeys, Key: true, Public: true},
		{Kind: "authorities of device certificates", Path: c.TCP.TLSClientCAFile, Key: true, Public: true},
		{Kind: "revoked device certificates", Path: c.Auth.DeviceRevokedFile, Key: true, Public: true},
		{Kind: "private key of the device port", Path: c.TCP.TLSKeyFile, Key: true},
		{Kind: "private key of the API", Path: c.HTTP.TLSKeyFile, Key: true},
		{Kind: "data directory", Path: c.Data.Dir},
	}
	for _, name := range c.secretFiles {
		list = append(list, private.Place{Kind: "secrets of the settings", Path: name, Key: true})
	}
	if c.Audit.File != "-" { // - stands for the ordinary log
		list = append(list, private.Place{Kind: "audit log", Path: c.Audit.File})
	}
	return list
}

// Missing lists the files that settings name, that serve reads and that do not exist.
func (c *Config) Missing(from Provenance) (list []Problem) {
	for _, s := range settings(c) {
		name := s.value.String()
		if s.field.Tag.Get("file") == "" || name == "" {
			continue
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			list = append(list, Problem{Setting: s.key, Text: name + " does not exist", Source: from.Of(s.key)})
		}
	}
	return list
}

// hasAPIKeyFile reports whether the operator has ever created keys. The file may be
// empty again; opening it finds that out.
func (c *Config) hasAPIKeyFile() bool {
	_, err := os.Stat(c.APIKeyFile())
	return err == nil
}

func settingCalled(c *Config, key string) setting {
	list := settings(c)
	return list[slices.IndexFunc(list, func(s setting) bool { return s.key == key })]
}

// IsLoopback reports whether only this machine can reach addr. A name other than
// localhost may resolve to anything.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // reported as malformed
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return ip.Unmap().IsLoopback()
}

// wrong describes the problem of this value alone, "" for none.
func (s setting) wrong() string {
	tag := s.field.Tag
	if one := tag.Get("oneof"); one != "" {
		names := strings.Split(one, "|")
		if v := s.value.String(); !slices.Contains(names, v) {
			return fmt.Sprintf("%q is none of %s%s", v, strings.Join(names, ", "), DidYouMean(v, names))
		}
	}
	switch tag.Get("check") {
	case "hostport":
		return wrongAddr(s.value.String())
	case "networks":
		return wrongNetworks(s.value.Interface().([]string))
	case "groups":
		return wrongGroups(s.value.Interface().([]string))
	case "url":
		return wrongURL(s.value.String())
	case "apikey":
		return wrongAPIKeys(s.value.Interface().([]Secret))
	}
	return s.outOfRange()
}

// outOfRange compares the value with the tags min and max.
func (s setting) outOfRange() string {
	for _, bound := range []struct {
		tag  string
		sign int
		word string
	}{{"min", -1, "less than the least"}, {"max", 1, "more than the most"}} {
		text := s.field.Tag.Get(bound.tag)
		if text == "" {
			continue
		}
		limit, err := s.parse(text)
		if err != nil {
			panic(fmt.Sprintf("config: %s of %s: %v", bound.tag, s.key, err))
		}
		if compare(s.value.Interface(), limit) == bound.sign {
			return fmt.Sprintf("%s is %s, %s", s.text(), bound.word, text)
		}
	}
	return ""
}

// compare orders two values of one of the numeric kinds.
func compare(a, b any) int {
	switch a := a.(type) {
	case Duration:
		return cmp.Compare(a, b.(Duration))
	case Size:
		return cmp.Compare(a, b.(Size))
	case int:
		return cmp.Compare(a, b.(int))
	}
	panic(fmt.Sprintf("config: %T has no order", a))
}

func wrongAddr(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Sprintf("%q is not an address: want host:port, as in 127.0.0.1:8080, or :8080 for every interface", addr)
	}
	return ""
}

// wrongAPIKeys gives the place of a bad key in the list, never the key.
func wrongAPIKeys(keys []Secret) string {
	for i, k := range keys {
		if !strings.HasPrefix(k.Reveal(), apiKeyPrefix) || len(k) < minAPIKey {
			return fmt.Sprintf("key %d of %d: want %s and at least %d more characters", i+1, len(keys), apiKeyPrefix, minAPIKey-len(apiKeyPrefix))
		}
	}
	return ""
}

// groupName is the rule of gateway.ValidGroup; it also accepts * for any group.
var groupName = regexp.MustCompile(`^([A-Za-z0-9._:@-]{1,64}|\*)$`)

func wrongGroups(names []string) string {
	for _, name := range names {
		if !groupName.MatchString(name) || name == "." || name == ".." {
			return fmt.Sprintf("%q is not a group: want 1 to 64 of A-Z a-z 0-9 . _ : @ -, or * for any", name)
		}
	}
	return ""
}

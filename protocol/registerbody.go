package protocol

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// registerJSON is the body of a v2 REGISTER (SPEC §4.3). Unknown members are
// ignored, so that later versions can add some. A null or absent member leaves
// the stored value unchanged; empty labels or groups remove all.
type registerJSON struct {
	ID          string            `json:"id"`
	Token       string            `json:"token,omitempty"`
	Labels      map[string]string `json:"labels,omitzero"`
	Groups      []string          `json:"groups,omitzero"`
	HeartbeatMS int64             `json:"heartbeat_ms,omitempty"`
	Window      int64             `json:"window,omitempty"`
	Log         string            `json:"log,omitempty"`
	AskThrough  *uint64           `json:"ask_through,omitempty"` // 0 is a value, absence is not
}

// registeredJSON is the body of a v2 REGISTER_ACK (SPEC §4.3).
type registeredJSON struct {
	Session     string `json:"session"`
	Log         string `json:"log"`
	Resumed     bool   `json:"resumed"`
	HeartbeatMS int64  `json:"heartbeat_ms"`
	GraceMS     int64  `json:"grace_ms"`
	Window      int64  `json:"window"`
	MaxPayload  int64  `json:"max_payload"`
	Ask         bool   `json:"ask,omitempty"`
	Time        int64  `json:"time,omitempty"` // Unix milliseconds
}

// maxTime is the end of the year 9999 in Unix milliseconds. No correct clock
// shows more.
const maxTime = 253_402_300_799_999

func encodeRegister(r *Register) []byte {
	j := registerJSON{ID: r.ID, Token: r.Token, Labels: r.Labels, Groups: r.Groups,
		HeartbeatMS: r.Heartbeat.Milliseconds(), Window: int64(r.Window), Log: r.Log}
	if r.Asks {
		j.AskThrough = &r.AskThrough
	}
	return mustJSON(j)
}

func encodeRegistered(r *Registered) []byte {
	j := registeredJSON{Session: r.Session, Log: r.Log, Resumed: r.Resumed,
		HeartbeatMS: r.Heartbeat.Milliseconds(), GraceMS: r.Grace.Milliseconds(),
		Window: int64(r.Window), MaxPayload: int64(r.MaxPayload), Ask: r.Ask}
	if !r.Time.IsZero() {
		j.Time = r.Time.UnixMilli()
	}
	return mustJSON(j)
}

// mustJSON encodes strings, numbers and maps of strings, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func decodeRegister(body []byte) (*Register, *wireError) {
	var j registerJSON
	if err := decodeJSON(body, &j); err != nil {
		return nil, err
	}
	if err := checkMembers(body, registerNames); err != nil {
		return nil, err
	}
	r, err := j.register()
	return r, err.of(j.ID)
}

// register checks the members of a REGISTER.
func (j *registerJSON) register() (*Register, *wireError) {
	if !validID(j.ID, maxClientID) {
		return nil, badClientID(maxClientID)
	}
	r := &Register{ID: j.ID, Token: j.Token, Labels: j.Labels, Groups: j.Groups,
		Heartbeat: clampMillis(j.HeartbeatMS), Window: int(min(j.Window, maxWireWindow)), Log: j.Log}
	if j.AskThrough != nil {
		r.Asks, r.AskThrough = true, *j.AskThrough
	}
	switch {
	case j.HeartbeatMS < 0:
		return nil, broken(ReasonBadRegister, "heartbeat_ms below 0")
	case j.Window < 0:
		return nil, broken(ReasonBadRegister, "window below 0")
	case len(j.Log) > maxLogName:
		return nil, broken(ReasonBadRegister, "log longer than %d bytes", maxLogName)
	}
	if err := checkLabels(j.Labels); err != nil {
		return nil, err
	}
	return r, checkGroups(j.Groups)
}

func decodeRegistered(body []byte) (*Registered, *wireError) {
	var j registeredJSON
	if err := decodeJSON(body, &j); err != nil {
		return nil, err
	}
	r := &Registered{Session: j.Session, Log: j.Log, Resumed: j.Resumed,
		Heartbeat: clampMillis(j.HeartbeatMS), Grace: clampMillis(j.GraceMS),
		Window:     int(max(0, min(j.Window, maxWireWindow))),
		MaxPayload: int(max(0, min(j.MaxPayload, maxWirePayload))), Ask: j.Ask}
	if j.Time > 0 && j.Time <= maxTime {
		r.Time = time.UnixMilli(j.Time).UTC()
	}
	return r, nil
}

// decodeJSON reads one JSON object. The bound is checked first: the parser never
// gets more than maxRegister bytes.
func decodeJSON(body []byte, into any) *wireError {
	if len(body) > maxRegister {
		return broken(ReasonFrameTooLarge, "registration of %d bytes, at most %d", len(body), maxRegister)
	}
	if !utf8.Valid(body) {
		return broken(ReasonBadRegister, "registration is not UTF-8")
	}
	if len(body) == 0 || body[0] != '{' {
		return broken(ReasonBadRegister, "registration is not a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return broken(ReasonBadRegister, "registration: %s", jsonFault(err))
	}
	return nil
}

// jsonFault describes a fault of a body without the words of encoding/json.
func jsonFault(err error) string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Sprintf("%s cannot be %s", cmp.Or(kind.Field, "the body"), kind.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON at byte %d", syntax.Offset)
	}
	return "not JSON"
}

// checkMembers refuses what two readers may understand differently, and what
// encoding/json would accept: a duplicate member or label, a known member in another
// spelling, half a surrogate pair, and null as a label. It ignores unknown members.
// body is valid JSON.
func checkMembers(body []byte, known []string) *wireError {
	return eachMember(body, func(name string, value json.RawMessage) *wireError {
		for _, k := range known {
			if k != name && strings.EqualFold(k, name) {
				return broken(ReasonBadRegister, "registration: %s in another spelling", k)
			}
		}
		switch {
		case !slices.Contains(known, name):
			return nil
		case halfPair(value):
			return broken(ReasonBadRegister, "registration: half a surrogate pair in %s", name)
		case name == "labels" && value[0] == '{':
			return eachMember(value, func(_ string, label json.RawMessage) *wireError {
				if label[0] != '"' {
					return broken(ReasonBadRegister, "registration: a label cannot be null")
				}
				return nil
			})
		}
		return nil
	})
}

// eachMember calls check for each member of object, which is valid JSON, and refuses
// a duplicate.
func eachMember(object []byte, check func(name string, value json.RawMessage) *wireError) *wireError {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.Token() // the opening brace
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return broken(ReasonBadRegister, "registration: not JSON")
		}
		if seen[name] {
			return broken(ReasonBadRegister, "registration: a member twice")
		}
		seen[name] = true
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return broken(ReasonBadRegister, "registration: not JSON")
		}
		if err := check(name, value); err != nil {
			return err
		}
	}
	return nil
}

// halfPair reports whether a string in value, which is valid JSON, has an escape of
// half a surrogate pair. encoding/json would replace it.
func halfPair(value []byte) bool {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		if i++; value[i] != 'u' {
			continue
		}
		first := hexRune(value[i+1:])
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if value[i+1] != '\\' || value[i+2] != 'u' || utf16.DecodeRune(first, hexRune(value[i+3:])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// hexRune returns the number that the first four bytes write in hexadecimal.
func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 32) // it is valid
	return rune(n)
}

var registerNames = []string{"id", "token", "labels", "groups", "heartbeat_ms", "window", "log", "ask_through"}

// clampMillis bounds ms before it becomes a duration, so that it cannot overflow.
func clampMillis(ms int64) time.Duration {
	return time.Duration(max(0, min(ms, MaxHeartbeat.Milliseconds()))) * time.Millisecond
}

func checkLabels(labels map[string]string) *wireError {
	if len(labels) > maxLabels {
		return broken(ReasonBadRegister, "%d labels, at most %d", len(labels), maxLabels)
	}
	for k, v := range labels {
		if !validLabelKey(k) {
			return broken(ReasonBadRegister, "label key must be 1 to %d of A-Z a-z 0-9 . _ -, and not . or ..", maxLabelKey)
		}
		if len(v) > maxLabelValue {
			return broken(ReasonBadRegister, "label value longer than %d bytes", maxLabelValue)
		}
	}
	return nil
}

func checkGroups(groups []string) *wireError {
	if len(groups) > maxGroups {
		return broken(ReasonBadRegister, "%d groups, at most %d", len(groups), maxGroups)
	}
	for _, g := range groups {
		if !validID(g, maxGroupName) {
			return broken(ReasonBadRegister, "group must be %s", idRule(maxGroupName))
		}
	}
	return nil
}

func badClientID(limit int) *wireError {
	return broken(ReasonBadClientID, "id must be %s", idRule(limit))
}

func idRule(limit int) string {
	return fmt.Sprintf("1 to %d of A-Z a-z 0-9 . _ : @ -, and not . or ..", limit)
}

// validID reports whether id is 1 to limit bytes of [A-Za-z0-9._:@-] and neither
// "." nor "..".
func validID(id string, limit int) bool { return validName(id, limit, "._-:@") }

func validLabelKey(key string) bool { return validName(key, maxLabelKey, "._-") }

// validName reports whether name is 1 to limit letters, digits and bytes of marks, and
// neither "." nor "..", which programs resolve to another place in a path.
func validName(name string, limit int, marks string) bool {
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return 0 < len(name) && len(name) <= limit && name != "." && name != ".."
}

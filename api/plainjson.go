package api

import "strconv"

// plainJSON appends the members of one object as encoding/json writes them,
// without reflection. It writes no escapes: a string that needs one clears ok, and
// the caller encodes the whole value with encoding/json. A test compares the two.
type plainJSON struct {
	b  []byte
	ok bool
}

func startJSON(b []byte) plainJSON { return plainJSON{b: append(b, '{'), ok: true} }

func (j *plainJSON) name(name string) {
	if j.b[len(j.b)-1] != '{' {
		j.b = append(j.b, ',')
	}
	j.b = append(j.b, '"')
	j.b = append(j.b, name...)
	j.b = append(j.b, '"', ':')
}

func (j *plainJSON) string(name, v string) {
	j.name(name)
	j.ok = j.ok && isPlain(v)
	j.b = append(j.b, '"')
	j.b = append(j.b, v...)
	j.b = append(j.b, '"')
}

// filled writes a string, unless it is empty.
func (j *plainJSON) filled(name, v string) {
	if v != "" {
		j.string(name, v)
	}
}

func (j *plainJSON) optional(name string, v *string) {
	if v != nil {
		j.string(name, *v)
	}
}

func (j *plainJSON) int(name string, v int) {
	j.name(name)
	j.b = strconv.AppendInt(j.b, int64(v), 10)
}

// number writes a value that encoding/json writes without an exponent.
func (j *plainJSON) number(name string, v float64) {
	if v == 0 {
		return
	}
	j.name(name)
	j.ok = j.ok && v >= 1e-6 && v < 1e21
	j.b = strconv.AppendFloat(j.b, v, 'f', -1, 64)
}

// end returns the object and a newline.
func (j *plainJSON) end() ([]byte, bool) { return append(j.b, '}', '\n'), j.ok }

// isPlain reports whether v needs no escapes in JSON.
func isPlain(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendMessage writes a message to one client. It reports false if the message has
// a payload, metadata or another rare member.
func appendMessage(b []byte, m *Message) ([]byte, bool) {
	if m.Unknown != nil || m.Counts != nil || m.Deliveries != "" || m.Metadata != nil || m.Text != nil || m.JSON != nil ||
		m.Base64 != nil || m.ResultBase64 != nil || m.Progress != nil || m.ProgressBase64 != nil || m.LateAckAt != "" || m.LateVerdict != "" || m.LateResult != nil || m.LateResultBase64 != nil ||
		m.PayloadBytes != nil || m.Content != "" || m.Preview != nil || m.PreviewBase64 != nil {
		return b, false
	}
	j := startJSON(b)
	j.string("id", m.ID)
	j.string("status", m.Status)
	j.string("mode", m.Mode)
	j.filled("client", m.Client)
	j.filled("reason", m.Reason)
	if m.Attempts != 0 {
		j.int("attempts", m.Attempts)
	}
	j.filled("sent_at", m.SentAt)
	j.filled("final_at", m.FinalAt)
	j.optional("result", m.Result)
	j.filled("created_at", m.CreatedAt)
	j.string("expires_at", m.ExpiresAt)
	j.filled("completed_at", m.CompletedAt)
	j.number("rtt_ms", m.RTTMs)
	return j.end()
}

// appendBulkResult writes the answer to an accepted line.
func appendBulkResult(b []byte, r *BulkResult) ([]byte, bool) {
	if r.Problem != nil || r.ResultBase64 != nil || r.Replayed || r.Unknown != nil {
		return b, false
	}
	j := startJSON(b)
	j.int("line", r.Line)
	j.filled("key", r.Key)
	j.int("status", r.Status)
	j.filled("id", r.ID)
	j.filled("state", r.State)
	j.filled("reason", r.Reason)
	j.optional("result", r.Result)
	return j.end()
}

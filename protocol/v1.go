package protocol

import "bytes"

// The v1 dialect (SPEC §3): a message is a type byte 0x01–0x06, '#' and a rest
// without a length. A read should be one message; a read of several messages is
// split at each type byte that '#' follows.
//
//	01 23 id [token]  REGISTER, ends at NUL, CR, LF or the end
//	02 23 'o' 'k'     REGISTER_ACK, 'e' 'r' when refused; "02 23 68" from a
//	                  device answers a heartbeat
//	03 23             HEARTBEAT
//	04 23 'h'         HEARTBEAT_ACK
//	05 23 payload     DATA, at most 126 bytes
//	06 23             ACK
const v1Mark = '#'

// isV1Start reports whether a v1 message starts at the start of b.
func isV1Start(b []byte) bool {
	return len(b) >= 2 && b[0] >= typeRegister && b[0] <= typeAck && b[1] == v1Mark
}

// cutV1 returns the first message of b, which ends before the next start; b is
// not empty. If b does not begin with a start, neither does msg.
func cutV1(b []byte) (msg, rest []byte) {
	for i := 1; i < len(b); i++ {
		if isV1Start(b[i:]) {
			return b[:i:i], b[i:]
		}
	}
	return b, nil
}

// parseV1 reads one message of a read. Only a read of one lone type byte is
// incomplete: every other read ends a message.
func parseV1(b []byte, r reading) (m message, n int, err *wireError) {
	if len(b) == 1 && b[0] >= typeRegister && b[0] <= typeAck {
		return m, 0, nil
	}
	msg, _ := cutV1(b)
	m, err = decodeV1(msg, r.role, r.tokens)
	return m, len(msg), err
}

// decodeV1 reads one message that cutV1 returned. With tokens set, a REGISTER may
// have a token (SPEC §3.1).
func decodeV1(b []byte, role Role, tokens bool) (m message, err *wireError) {
	if !isV1Start(b) {
		return m, broken(ReasonProtocolError, "not a v1 message")
	}
	if len(b) > maxV1Message && b[0] != typeRegister {
		return m, broken(ReasonFrameTooLarge, "v1 message of %d bytes, at most %d", len(b), maxV1Message)
	}
	m.kind = b[0]
	body := b[2:]
	switch m.kind {
	case typeRegister:
		if m.register, err = decodeV1Register(body, tokens); err != nil {
			err = err.of(badV1ID(body))
		}
	case typeRegisterAck:
		if role == Server {
			m.kind = typeHeartbeatAck // the first client program sends it
			break
		}
		if bytes.HasPrefix(body, []byte("ok")) {
			m.accepted = &Registered{}
		}
	case typeData:
		m.payload = body
	}
	return m, err
}

func decodeV1Register(body []byte, tokens bool) (*Register, *wireError) {
	body = untilEnd(body)
	id, token, found := body, []byte(nil), false
	if tokens {
		id, token, found = bytes.Cut(body, []byte{' '})
	}
	switch {
	case !validID(string(id), maxClientID):
		return nil, badClientID(maxClientID)
	case found && (len(body) > maxV1Payload || !validV1Token(token)):
		return nil, broken(ReasonBadRegister, "token must be printable and, with the id, at most %d bytes", maxV1Payload-1)
	}
	return &Register{ID: string(id), Token: string(token)}, nil
}

// untilEnd returns the part of a REGISTER before its padding (SPEC §3.1).
func untilEnd(body []byte) []byte {
	if i := bytes.IndexAny(body, "\x00\r\n"); i >= 0 {
		return body[:i]
	}
	return body
}

// badV1ID returns the id of a REGISTER that cannot be read, up to its first space: a token
// may follow.
func badV1ID(body []byte) string {
	body = untilEnd(body)
	if i := bytes.IndexByte(body, ' '); i >= 0 {
		body = body[:i+1] // with the space: it shows the fault
	}
	return string(body)
}

// checkV1Register returns why r cannot be sent.
func checkV1Register(r *Register) *wireError {
	switch {
	case !validID(r.ID, maxV1Payload):
		return badClientID(maxV1Payload)
	case r.Token != "" && (!validV1Token(r.Token) || len(r.ID)+1+len(r.Token) > maxV1Payload):
		return broken(ReasonBadRegister, "v1 takes a token of printable characters and, with the id, of at most %d bytes", maxV1Payload-1)
	}
	return nil
}

// validV1Token reports whether token is 1 or more printable ASCII characters
// without a space.
func validV1Token[T string | []byte](token T) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return len(token) > 0
}

// appendV1 appends m as a v1 message. A REGISTER_ACK without accepted is a
// refusal. Answers to data are empty: v1 has only one verdict.
func appendV1(b []byte, m message) []byte {
	b = append(b, m.kind, v1Mark)
	switch m.kind {
	case typeRegister:
		b = append(b, m.register.ID...)
		if m.register.Token != "" {
			b = append(append(b, ' '), m.register.Token...)
		}
		return b
	case typeRegisterAck:
		if m.accepted == nil {
			return append(b, "er"...)
		}
		return append(b, "ok"...)
	case typeHeartbeatAck:
		return append(b, 'h')
	case typeData:
		return append(b, m.payload...)
	}
	return b
}

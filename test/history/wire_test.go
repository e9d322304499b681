package history

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// kind is the type of a message (SPEC §4.1).
type kind byte

const (
	register     kind = 1
	registerAck  kind = 2
	heartbeat    kind = 3
	heartbeatAck kind = 4
	data         kind = 5
	acknowledge  kind = 6
	closing      kind = 7
)

// Flags in the version byte.
const (
	flagDup       = 0x10
	flagEphemeral = 0x20
	flagHead      = 0x40
)

// Codes of an ACK.
const (
	codeOK      = 0
	codeReject  = 1
	codeLater   = 2
	codeSend    = 3 // not handled: send the payload
	codeNotKept = 4 // handled, but the verdict is no longer known
	codeWorking = 5
)

// message is one message of v2 or text.
type message struct {
	kind      kind
	seq       uint64
	dup       bool
	ephemeral bool
	ask       bool
	code      byte
	body      []byte // payload, result, JSON or text of a CLOSE
}

// hello is what a device tells in REGISTER.
type hello struct {
	ID         string  `json:"id"`
	Window     int     `json:"window,omitempty"`
	Log        string  `json:"log,omitempty"`
	AskThrough *uint64 `json:"ask_through,omitempty"`
	LastSeq    *uint64 `json:"last_seq,omitempty"`
}

// welcome is what a device reads in REGISTER_ACK.
type welcome struct {
	Log     string `json:"log"`
	Resumed bool   `json:"resumed"`
	Ask     bool   `json:"ask"`
	Time    int64  `json:"time"` // Unix milliseconds
}

// codec is a dialect that has numbers.
type codec interface {
	hello(hello) []byte
	encode(message) []byte
	read(*bufio.Reader) (message, error)
}

// framed is v2.
type framed struct{}

func frame(k kind, flags byte, body []byte) []byte {
	b := binary.AppendUvarint([]byte{byte(k), 2 | flags}, uint64(len(body)))
	return append(b, body...)
}

func (framed) hello(h hello) []byte {
	body, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return frame(register, 0, body)
}

func (framed) encode(m message) []byte {
	var flags byte
	if m.dup {
		flags |= flagDup
	}
	if m.ephemeral {
		flags |= flagEphemeral
	}
	var body []byte
	switch m.kind {
	case data:
		body = append(binary.AppendUvarint(nil, m.seq), m.body...)
	case acknowledge:
		body = append(append(binary.AppendUvarint(nil, m.seq), m.code), m.body...)
	}
	return frame(m.kind, flags, body)
}

func (framed) read(r *bufio.Reader) (message, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return message{}, err
	}
	if head[1]&0x8f != 2 || n > 1<<20 {
		return message{}, fmt.Errorf("frame % x of %d bytes is not v2", head, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return message{}, err
	}
	m := message{kind: kind(head[0]), dup: head[1]&flagDup != 0, ephemeral: head[1]&flagEphemeral != 0, ask: head[1]&flagHead != 0}
	switch m.kind {
	case data, acknowledge:
		seq, size := binary.Uvarint(body)
		if size <= 0 || seq == 0 || m.kind == acknowledge && len(body) == size {
			return message{}, fmt.Errorf("frame % x has the body % x", head, body[:min(len(body), 20)])
		}
		m.seq, body = seq, body[size:]
		if m.kind == acknowledge {
			m.code, body = body[0], body[1:]
		}
		if m.ask && (!m.dup || m.ephemeral || len(body) > 0) {
			return message{}, fmt.Errorf("frame % x with %d bytes is no ASK", head, len(body))
		}
	case closing:
		if len(body) < 6 {
			return message{}, fmt.Errorf("a CLOSE of %d bytes", len(body))
		}
		body = fmt.Appendf(nil, "%d %s", binary.BigEndian.Uint16(body), body[6:])
	}
	m.body = body
	return m, nil
}

// lines is the text dialect, for printable payloads and results.
type lines struct{}

func (lines) hello(h hello) []byte { return []byte("REGISTER " + h.ID + "\n") }

func (lines) encode(m message) []byte {
	e := ""
	if m.ephemeral {
		e = "e"
	}
	verb := ""
	switch m.kind {
	case heartbeat:
		return []byte("PING\n")
	case heartbeatAck:
		return []byte("PONG\n")
	case data:
		verb = "DATA"
	case acknowledge:
		verb = []string{"ACK", "NAK", "RETRY"}[m.code]
	}
	if len(m.body) == 0 {
		return fmt.Appendf(nil, "%s %s%d\n", verb, e, m.seq)
	}
	return fmt.Appendf(nil, "%s %s%d %s\n", verb, e, m.seq, m.body)
}

func (lines) read(r *bufio.Reader) (message, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return message{}, err // a line without its end was cut
	}
	verb, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	m := message{}
	switch verb {
	case "REGISTER":
		return message{kind: register, body: []byte(rest)}, nil
	case "BYE":
		return message{kind: closing}, nil
	case "REGISTERED":
		return message{kind: registerAck, body: []byte("{}")}, nil
	case "PING":
		return message{kind: heartbeat}, nil
	case "PONG":
		return message{kind: heartbeatAck}, nil
	case "CLOSE":
		return message{kind: closing, body: []byte(rest)}, nil
	case "DATA":
		m.kind = data
	case "ACK", "NAK", "RETRY":
		m.kind, m.code = acknowledge, map[string]byte{"ACK": codeOK, "NAK": codeReject, "RETRY": codeLater}[verb]
	default:
		return message{}, fmt.Errorf("the gateway said %.80q", line)
	}
	number, rest, _ := strings.Cut(rest, " ")
	digits, e := strings.CutPrefix(number, "e")
	if m.seq, err = strconv.ParseUint(digits, 10, 64); err != nil {
		return message{}, fmt.Errorf("the gateway said %.80q", line)
	}
	m.ephemeral, m.body = e, []byte(rest)
	return m, nil
}

package hostile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// peer is a raw connection to the device port, with a codec of its own: what
// the gateway says is not judged by the gateway's code.
type peer struct {
	net.Conn
	s *site
	r *bufio.Reader
}

func (s *site) dial() *peer {
	s.Helper()
	c, err := net.Dial("tcp", s.tcp)
	if err != nil {
		s.Fatal(err)
	}
	return s.peer(c)
}

// peer takes over c for the length of the attack.
func (s *site) peer(c net.Conn) *peer {
	s.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience)) // a real socket
	return &peer{Conn: c, s: s, r: bufio.NewReader(c)}
}

// send writes and does not mind when the gateway has closed already.
func (p *peer) send(data string) error {
	_, err := io.WriteString(p.Conn, data)
	return err
}

// frame is one v2 frame.
func frame(typ byte, body string) string {
	b := binary.AppendUvarint([]byte{typ, 2}, uint64(len(body)))
	return string(b) + body
}

const (
	tRegister, tRegisterAck, tHeartbeat, tHeartbeatAck, tData, tAck, tClose = 1, 2, 3, 4, 5, 6, 7
)

// number is what DATA and ACK begin with.
func number(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

// next reads one v2 frame.
func (p *peer) next() (typ byte, body string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	n, err := binary.ReadUvarint(p.r)
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(p.r, b)
	return head[0], string(b), err
}

// want reads frames until one of typ, and fails when another type comes that is
// not a heartbeat.
func (p *peer) want(typ byte) string {
	p.s.Helper()
	for {
		got, body, err := p.next()
		switch {
		case err != nil:
			p.s.Fatalf("want frame %d: %v\n%s", typ, err, p.s.log)
		case got == typ:
			return body
		case got != tHeartbeat:
			p.s.Fatalf("want frame %d, got %d %q", typ, got, body)
		}
	}
}

// register registers with v2; more are further members of the JSON body.
func (s *site) register(id string, more ...string) *peer {
	s.Helper()
	p := s.dial()
	p.register(id, more...)
	return p
}

func (p *peer) register(id string, more ...string) {
	p.s.Helper()
	body := fmt.Sprintf(`{"id":%q%s}`, id, strings.Join(append([]string{""}, more...), ","))
	if err := p.send(frame(tRegister, body)); err != nil {
		p.s.Fatal(err)
	}
	p.want(tRegisterAck)
}

// registerText registers with the text dialect.
func (s *site) registerText(id string) *peer {
	s.Helper()
	p := s.dial()
	if err := p.send("REGISTER " + id + "\n"); err != nil {
		s.Fatal(err)
	}
	if line := p.line(); !strings.HasPrefix(line, "REGISTERED ") {
		s.Fatalf("REGISTER %s was answered %q", id, line)
	}
	return p
}

// line reads one text line, "" at the end of the connection.
func (p *peer) line() string {
	line, err := p.r.ReadString('\n')
	if err != nil && !gone(err) {
		p.s.Fatalf("read a line: %v", err)
	}
	return strings.TrimRight(line, "\r\n")
}

// wantClose reads until CLOSE and wants its code and the start of its text,
// and the end of the connection behind it. It returns the retry delay.
func (p *peer) wantClose(code int, text string) time.Duration {
	p.s.Helper()
	for {
		typ, body, err := p.next()
		if err != nil {
			p.s.Fatalf("want CLOSE %d %s: %v\n%s", code, text, err, p.s.log)
		}
		if typ != tClose {
			continue
		}
		got := int(binary.BigEndian.Uint16([]byte(body)))
		if got != code || !isReason(body[6:], text) {
			p.s.Errorf("CLOSE %d %q, want %d %s", got, body[6:], code, text)
		}
		p.wantGone()
		return time.Duration(binary.BigEndian.Uint32([]byte(body[2:]))) * time.Millisecond
	}
}

// isReason reports whether a CLOSE's text is the reason, with or without words
// for people.
func isReason(text, reason string) bool {
	word, _, _ := strings.Cut(text, ":")
	return word == reason
}

// wantLineClose is wantClose for text.
func (p *peer) wantLineClose(code int, text string) {
	p.s.Helper()
	for {
		line := p.line()
		if line == "" {
			p.s.Fatalf("want CLOSE %d %s, got the end\n%s", code, text, p.s.log)
		}
		words := strings.SplitN(line, " ", 4)
		if words[0] != "CLOSE" {
			continue
		}
		if len(words) != 4 || words[1] != fmt.Sprint(code) || !isReason(words[3], text) {
			p.s.Errorf("got %q, want CLOSE %d … %s", line, code, text)
		}
		p.wantGone()
		return
	}
}

// wantGone reads to the end of the connection, which must come, and returns
// what came before it.
func (p *peer) wantGone() string {
	p.s.Helper()
	rest, err := io.ReadAll(p.r)
	if err != nil && !gone(err) {
		p.s.Errorf("want the connection closed: %v", err)
	}
	p.Close()
	return string(rest)
}

// gone reports whether err is how a connection ends: with a FIN, or with a
// reset because the gateway did not read everything.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err)
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

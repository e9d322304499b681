package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/longwire/longwire/protocol"
)

// The text of a CLOSE from the wire begins with its reason; a person reads it once.
func TestCloseTextSaysTheReasonOnce(t *testing.T) {
	for _, c := range []struct {
		c    protocol.Close
		want string
	}{
		{protocol.Close{Code: 3500, Reason: "tls_required", Text: "tls_required: this port takes TLS only"}, "tls_required: this port takes TLS only (3500)"},
		{protocol.Close{Code: 3500, Reason: "tls_required", Text: "this port takes TLS only"}, "tls_required: this port takes TLS only (3500)"},
		{protocol.Close{Code: 3501, Reason: "unauthorized", Text: "unauthorized"}, "unauthorized (3501)"},
		{protocol.Close{Reason: "connection_lost"}, "connection_lost"},
		{protocol.Close{}, "EOF"},
	} {
		if got := closeText(c.c); got != c.want {
			t.Errorf("%+v: %q, want %q", c.c, got, c.want)
		}
	}
}

// Each end of a connection that a person can mend has its advice, and no other has one.
func TestCloseAdvice(t *testing.T) {
	for _, c := range []struct {
		reason, opening, want string
	}{
		{protocol.ReasonProtocolError, "HTTP/", adviceHTTP},
		{protocol.ReasonTLSRequired, "\x07\x02,\r\xac", adviceTLS},
		{protocol.ReasonUnauthorized, "", adviceToken},
		{protocol.ReasonShutdown, "", ""},
		{protocol.ReasonConnectionLost, "ERROR", ""},
	} {
		if got := closeAdvice(protocol.Close{Reason: c.reason}, c.opening); got != c.want {
			t.Errorf("%s after %q: %q, want %q", c.reason, c.opening, got, c.want)
		}
	}
}

// A port in use is the most frequent reason why a gateway does not start.
func TestAPortInUseSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = net.Listen("tcp", l.Addr().String())
	got := new(environ).explain(fmt.Errorf("listen for devices: %w", err))
	if want := "--tcp-addr or --http-addr"; !strings.HasSuffix(got, want) {
		t.Errorf("%q, want the end %q", got, want)
	}
}

// Two files that are missing are two errors, and the line shows where one ends.
func TestOneLineDividesJoinedErrors(t *testing.T) {
	err := fmt.Errorf("certificate of tcp: %w", errors.Join(errors.New("stat tls.crt: no such file"), errors.New("stat  tls.key:\tno such file")))
	if got, want := oneLine(err.Error()), "certificate of tcp: stat tls.crt: no such file; stat tls.key: no such file"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

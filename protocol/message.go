package protocol

import "fmt"

// message is one frame, line or v1 message of any dialect. payload borrows from
// the input it was parsed from.
type message struct {
	kind      byte // a message type of wire.go, or one of the kinds below
	dup       bool
	ephemeral bool
	head      bool // with dup on DATA: an ASK
	code      AckCode
	seq       uint64 // 0 if the dialect has none
	payload   []byte // DATA: payload; ACK: the answer
	register  *Register
	accepted  *Registered
	close     *Close // CLOSE; ERROR: Text alone
}

// Kinds that have no type byte on the wire.
const (
	kindBlank = 0x80 // text: an empty line
	kindError = 0x81 // text: ERROR, from a server; close.Text is its text
	kindBye   = 0x82 // text: BYE, from a device; read as typeClose
)

// wireError is the reason why input is not a message.
type wireError struct {
	reason string // one of the Reason constants
	text   string // for people
	id     string // of a REGISTER: the start of the id that it has, "" for none
}

// maxBadID bounds the part of an id that is kept of a REGISTER that cannot be read.
const maxBadID = 64

// badID returns the id as the payload of an event.
func (e *wireError) badID() []byte {
	if e.id == "" {
		return nil
	}
	return []byte(e.id)
}

// of adds the id to the fault of a REGISTER. e may be nil.
func (e *wireError) of(id string) *wireError {
	if e != nil {
		e.id = id[:min(len(id), maxBadID)]
	}
	return e
}

func (e *wireError) Error() string { return e.reason + ": " + e.text }

func broken(reason, format string, args ...any) *wireError {
	return &wireError{reason: reason, text: fmt.Sprintf(format, args...)}
}

//go:build linux

package sysdisk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Types of v2 frames (SPEC §4.1), and flags in their second byte.
const (
	frameRegister    = 1
	frameRegisterAck = 2
	frameHeartbeat   = 3
	frameData        = 5
	frameAck         = 6
	frameClose       = 7

	flagEphemeral = 0x20
)

// frame is a v2 frame. number is that of a DATA or ACK.
type frame struct {
	typ, flags byte
	number     uint64
	body       []byte // behind the number
	upto       int    // its last byte in the stream
}

// frames reads the whole frames at the start of a stream.
func frames(b []byte) (list []frame) {
	for at := 0; ; {
		if len(b)-at < 3 {
			return list
		}
		length, n := binary.Uvarint(b[at+2:])
		end := at + 2 + n + int(length)
		if n <= 0 || end > len(b) {
			return list
		}
		f := frame{typ: b[at], flags: b[at+1] &^ 0x0f, body: b[at+2+n : end], upto: end}
		if f.typ == frameData || f.typ == frameAck {
			var m int
			f.number, m = binary.Uvarint(f.body)
			f.body = f.body[m:]
		}
		list = append(list, f)
		at = end
	}
}

func appendFrame(b []byte, typ byte, body []byte) []byte {
	b = binary.AppendUvarint(append(b, typ, 2), uint64(len(body)))
	return append(b, body...)
}

// station is a device that does one thing after the other.
type station struct {
	nc  net.Conn
	buf []byte
	log string // of REGISTER_ACK
}

var errRefused = errors.New("the registration is refused")

// connect registers a device.
func connect(addr, id, token string) (*station, error) {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	s := &station{nc: nc}
	nc.SetDeadline(time.Now().Add(time.Minute))
	body, err := json.Marshal(map[string]string{"id": id, "token": token})
	if err != nil {
		return nil, err
	}
	if _, err := nc.Write(appendFrame(nil, frameRegister, body)); err != nil {
		return nil, err
	}
	f, err := s.next()
	if err != nil {
		nc.Close()
		return nil, err
	}
	var welcome struct{ Log string }
	if f.typ == frameRegisterAck {
		err = json.Unmarshal(f.body, &welcome)
	} else if err = errRefused; f.typ != frameClose {
		err = fmt.Errorf("REGISTER is answered with a frame of type %d", f.typ)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	s.log = welcome.Log
	return s, nil
}

// next reads a frame.
func (s *station) next() (frame, error) {
	for {
		if list := frames(s.buf); len(list) > 0 {
			s.buf = s.buf[list[0].upto:]
			return list[0], nil
		}
		var in [4096]byte
		n, err := s.nc.Read(in[:])
		if err != nil {
			return frame{}, err
		}
		s.buf = append(s.buf, in[:n]...)
	}
}

// await reads frames up to one of a type.
func (s *station) await(typ byte) (frame, error) {
	for {
		f, err := s.next()
		if err != nil || f.typ == typ {
			return f, err
		}
	}
}

// uplink sends a payload and waits for its ack.
func (s *station) uplink(number uint64, payload string) error {
	body := append(binary.AppendUvarint(nil, number), payload...)
	if _, err := s.nc.Write(appendFrame(nil, frameData, body)); err != nil {
		return err
	}
	f, err := s.await(frameAck)
	if err == nil && (len(f.body) == 0 || f.body[0] != 0) {
		err = fmt.Errorf("uplink is answered with %v", f.body)
	}
	return err
}

package verdicts

// code is the verdict of an ACK.
type code = uint8

const (
	ackOK      code = iota
	ackReject       // do not send it again
	ackRetry        // send it later
	ackUnknown      // not handled, send it
	ackUnkept       // handled, the verdict is no longer known
	ackWorking      // a worker has it
	ackResult       // on the wire this is ackOK with a result
)

type frameKind uint8

const (
	noFrame     frameKind = iota
	register              // a: log, b: ask_through
	registered            // a: log, b: 1 for resumed
	data                  // a: sequence
	ask                   // a: sequence
	ack                   // a: sequence, b: code
	uplink                // a: number, b: payload
	uplinkAcked           // a: number, b: code
)

type frame struct {
	kind frameKind
	a, b uint8
}

// queueCap is how many frames one direction of a connection holds; a full one
// stops its sender.
const queueCap = 4

// queue is one direction of a connection. Unused places are zero, so that equal
// queues compare equal.
type queue struct {
	n uint8
	f [queueCap]frame
}

func (q *queue) room() bool { return q.n < queueCap }

func (q *queue) push(f frame) {
	q.f[q.n] = f
	q.n++
}

func (q *queue) pop() frame {
	f := q.f[0]
	copy(q.f[:], q.f[1:])
	q.n--
	q.f[q.n] = frame{}
	return f
}

// wire is one connection. An end that is closed reads no more; the frames
// that it has written may still arrive, up to any one of them.
type wire struct {
	up, down        queue
	device, gateway bool // the end is open
}

func (w *wire) free() bool { return !w.device && !w.gateway }

// closeDevice closes the device's end. The frames towards it are lost.
func (w *wire) closeDevice() {
	w.device, w.down = false, queue{}
	if !w.gateway {
		w.up = queue{}
	}
}

func (w *wire) closeGateway() {
	w.gateway, w.up = false, queue{}
	if !w.device {
		w.down = queue{}
	}
}

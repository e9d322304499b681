package tcpserver

import "sync"

// inbound is one read, taken from a pool when there is input. Most reads are small
// and wait for their turn in a small buffer: a hundred thousand devices that send
// at once would otherwise take gigabytes.
type inbound struct {
	buf []byte // smallRead or readBufferSize bytes
	n   int
	err error // the end of the stream, nil before it

	next *inbound // in a stream's inbox the read before, in its input the read after
}

var (
	smallReads = sync.Pool{New: func() any { return &inbound{buf: make([]byte, smallRead)} }}
	largeReads = sync.Pool{New: func() any { return &inbound{buf: make([]byte, readBufferSize)} }}
)

// takeLarge returns a buffer for a read.
func takeLarge() *inbound { return largeReads.Get().(*inbound) }

// takeSmall returns a small buffer with p, which must fit, and the end of the
// stream.
func takeSmall(p []byte, err error) *inbound {
	in := smallReads.Get().(*inbound)
	in.n, in.err = copy(in.buf, p), err
	return in
}

// fitted returns in, or a small copy if that is large enough.
func (in *inbound) fitted() *inbound {
	if in.n > smallRead {
		return in
	}
	small := takeSmall(in.bytes(), in.err)
	in.release()
	return small
}

func (in *inbound) release() {
	in.n, in.err, in.next = 0, nil, nil
	if len(in.buf) == smallRead {
		smallReads.Put(in)
	} else {
		largeReads.Put(in)
	}
}

// bytes returns the bytes of the read.
func (in *inbound) bytes() []byte { return in.buf[:in.n] }

// outbound is output on its way to the socket: buf[done:] is left to write.
type outbound struct {
	buf  []byte
	done int

	// stalledAt is the time at which the device becomes a slow consumer unless it
	// takes more, in the server's nanoseconds. 0 if the flusher of a stream keeps
	// the time.
	stalledAt int64

	wr rawWrite // for a stream
}

// keptOutput bounds the buffers that return to the pool, in bytes.
const keptOutput = 64 << 10

var outboundPool = sync.Pool{New: func() any {
	o := &outbound{buf: make([]byte, 0, 1<<10)}
	o.wr.init()
	return o
}}

func takeOutbound() *outbound { return outboundPool.Get().(*outbound) }

func (o *outbound) left() []byte { return o.buf[o.done:] }

func (o *outbound) release() {
	if cap(o.buf) > keptOutput {
		return
	}
	o.buf, o.done, o.stalledAt = o.buf[:0], 0, 0
	outboundPool.Put(o)
}

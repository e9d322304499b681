package history

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"
)

// random is a source whose choices follow from the seed and a name.
func random(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// upTo is a random time below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// plan is how a device treats one delivery.
type plan struct {
	silent  int           // transmissions that it leaves unanswered
	later   int           // times that it says retry later
	delay   time.Duration // until its verdict
	working bool          // it says so meanwhile
	verdict verdict
}

// planFor is the same for each transmission of a payload to a client.
func planFor(seed uint64, client, payload string) plan {
	r := random(seed, client+" "+payload)
	p := plan{}
	switch r.IntN(20) {
	case 0, 1:
		p.verdict = verdict{codeReject, []byte("no: " + payload[:min(len(payload), 12)])}
	case 2, 3, 4:
		p.verdict.result = printable(r, r.IntN(40))
	case 5:
		p.verdict.result = printable(r, min(1<<r.IntN(16)*(8+r.IntN(5))/8, maxTextResult))
	}
	switch r.IntN(20) {
	case 0:
		p.silent = 1
	case 1:
		p.later = 1 + r.IntN(2)
	case 2, 3, 4:
		p.delay = upTo(r, 300*time.Millisecond)
	case 5:
		p.delay, p.working = time.Second+upTo(r, time.Second), true
	}
	return p
}

// maxTextResult is the longest result that the text dialect carries (SPEC, bounds).
const maxTextResult = 48_000

// printable is n bytes that every dialect can carry as they are.
func printable(r *rand.Rand, n int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return b
}

// padded ends with a mark, so that a v1 device knows a payload that was cut.
func padded(r *rand.Rand, name string, n int) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte(' ')
	b.Write(printable(r, max(0, n-len(name))))
	b.WriteByte(';')
	return b.String()
}

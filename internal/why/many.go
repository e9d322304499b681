package why

import (
	"fmt"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// OfMany sums up a message to many from its counts: it costs the same for any number of
// recipients.
func OfMany(m *gateway.Message) Verdict {
	c := &m.Counts
	v := Verdict{Code: ManyPending, Facts: Facts{CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt, FinalAt: m.CompletedAt, Counts: c}}
	var parts []string
	for st := gateway.Queued; st <= gateway.Unknown; st++ {
		if n := *c.Of(st); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", number(n), stateText(st)))
		}
	}
	head := fmt.Sprintf("%s of %s deliveries are final", number(c.Final()), number(c.Total))
	if m.Completed() {
		v.Code = ManyCompleted
		head = fmt.Sprintf("all %s deliveries are final", number(c.Total))
	}
	if len(parts) > 0 {
		head += ": " + strings.Join(parts, ", ")
	}
	v.Sentence = sentence(head, "")
	return v
}

func stateText(s gateway.State) string {
	switch s {
	case gateway.Queued:
		return "wait in the gateway"
	case gateway.Sent:
		return "sent and not acked"
	}
	return s.String()
}

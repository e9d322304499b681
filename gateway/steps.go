package gateway

import "time"

// StepObserver is notified of the steps of deliveries to single clients. The
// gateway calls it with its locks held: it must not call the gateway and must not
// wait.
type StepObserver interface {
	Step(Step)
	// Forgotten reports that a client was removed: nothing about it may be shown
	// any more.
	Forgotten(ClientID)
}

// Step is one step of a delivery. The end of a message to many by its time or its
// cancellation is no step of its recipients.
type Step struct {
	Client    ClientID
	At        time.Time
	Message   MessageID
	Seq       Seq
	Ephemeral bool // of an online delivery: Seq is valid in its session only
	Kind      StepKind
	Reason    string // a Reason constant, or ""
	Attempts  int    // transmissions so far; 0 if the step has none
}

// StepKind is the kind of a Step.
type StepKind uint8

const (
	StepQueued     StepKind = iota + 1 // accepted for this client
	StepSent                           // flushed to the socket
	StepUnanswered                     // no answer came in time
	StepRetryLater                     // the device wants it later
	StepWorking                        // the device has it and works on it
	StepNotHandled                     // the answer to an ASK: the payload follows
	StepLateAck                        // an answer after the final state
	StepAcked                          // StepAcked and those behind it are final
	StepRejected
	StepExpired
	StepCanceled
	StepFailed
	StepUnknown
)

var stepNames = [...]string{StepQueued: "queued", StepSent: "sent", StepUnanswered: "unanswered", StepRetryLater: "retry_later",
	StepWorking: "working", StepNotHandled: "not_handled", StepLateAck: "late_ack", StepAcked: "acked", StepRejected: "rejected",
	StepExpired: "expired", StepCanceled: "canceled", StepFailed: "failed", StepUnknown: "unknown"}

// String returns the kind in lower case. Final kinds are spelled as their State.
func (k StepKind) String() string {
	if int(k) < len(stepNames) {
		return stepNames[k]
	}
	return ""
}

// StepKinds returns the name of every kind.
func StepKinds() []string { return stepNames[StepQueued:] }

// finalSteps has the step of each final state.
var finalSteps = [...]StepKind{Acked: StepAcked, Rejected: StepRejected, Expired: StepExpired, Canceled: StepCanceled,
	Failed: StepFailed, Unknown: StepUnknown}

// step reports a step of f. The caller may hold s.mu.
func (s *Session) step(kind StepKind, f *inflight) {
	if s.g.cfg.Steps != nil {
		s.stepAt(s.g.cfg.Now(), kind, f)
	}
}

// stepAt is step at a time that the caller has read.
func (s *Session) stepAt(at time.Time, kind StepKind, f *inflight) {
	if o := s.g.cfg.Steps; o != nil {
		o.Step(Step{Client: s.client, At: at, Message: f.message, Seq: f.seq, Ephemeral: f.call != nil, Kind: kind, Attempts: int(f.attempts)})
	}
}

// answerStep reports the answer to an online delivery.
func (s *Session) answerStep(at time.Time, seq Seq, message MessageID, code AckCode) {
	if o := s.g.cfg.Steps; o != nil {
		state, reason := onlineVerdict(code)
		o.Step(Step{Client: s.client, At: at, Message: message, Seq: seq, Ephemeral: true, Kind: finalSteps[state], Reason: reason})
	}
}

// madeAt returns when a message was made, by its id.
func (id MessageID) madeAt() time.Time {
	u, _ := id.UUID()
	return uid(u).madeAt()
}

// queuedStep reports an accepted message. It reads no clock, and finalStep does not
// either.
func (g *Gateway) queuedStep(a *Accepted) {
	if o := g.cfg.Steps; o != nil {
		o.Step(Step{Client: a.Client, At: a.Transmission.Message.madeAt(), Message: a.Transmission.Message, Seq: a.Transmission.Seq, Kind: StepQueued})
	}
}

// finalStep reports a settlement.
func (g *Gateway) finalStep(t *Settlement) {
	o := g.cfg.Steps
	if o == nil || t.Delivery.Online { // whose answer was reported by its session
		return
	}
	d := &t.Delivery
	step := Step{Client: d.Client, At: d.FinalAt, Message: d.Message, Seq: d.Seq, Kind: finalSteps[d.State], Reason: d.Reason, Attempts: d.Attempts}
	if t.Late {
		step.Kind, step.Reason, step.At = StepLateAck, "", d.LateAckAt
	}
	o.Step(step)
}

// forgottenStep reports a removed client.
func (g *Gateway) forgottenStep(id ClientID) {
	if g.cfg.Steps != nil {
		g.cfg.Steps.Forgotten(id)
	}
}

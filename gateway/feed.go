package gateway

// Observer takes the feed: the changes of the log. It passes them on without a
// system call, and takes no lock that another goroutine holds during one.
type Observer interface {
	// Changed reports changes that are durable and can be read, in log order and from
	// one goroutine at a time. Cancel and Purge return after it. It
	// must not call the store's writing methods and must not block. The list and the
	// changes are the store's again when Changed returns; payloads and results may be
	// kept, and must not be changed.
	Changed([]Change)
}

// Change is one change of the log: a pointer to one of the types below.
type Change interface{ change() }

func (*Accepted) change()     {}
func (*AcceptedMany) change() {}
func (*Settlement) change()   {}
func (*SettledAll) change()   {}
func (*Uplinked) change()     {}
func (*Reopened) change()     {}

// Accepted is a message to one client that was accepted.
type Accepted struct {
	Client ClientID
	Parcel Parcel
}

// AcceptedMany is a message to many that was accepted and has a queued delivery.
type AcceptedMany struct {
	Message MessageID
	Seq     Seq
	Total   int // deliveries
	To      Audience
	Rate    int // Acceptance.Rate
}

// Settlement is one delivery that became final. Late is set instead when the
// delivery was final before and an ack came after (Delivery.LateAckAt).
type Settlement struct {
	Delivery Delivery
	Late     bool
	// Completed is the message if this was its last delivery, else nil. It has ids,
	// times and counts, but no payload and metadata.
	Completed *Message
}

// SettledAll is the rest of a message to many, N deliveries, that became final
// in one step: expired or canceled. Message is as in Settlement.Completed.
type SettledAll struct {
	Message Message
	State   State
	N       int
}

// Uplinked is an uplink that is stored.
type Uplinked struct{ Uplink Uplink }

// Reopened says that the store had failed and is open again. Sessions trust no
// mailbox until they have read the store.
type Reopened struct{}

// observer is the gateway as the store's observer.
type observer Gateway

// wakes is whom the changes of one record wake: sessions go to the run queue as one
// list, calls are answered on one goroutine.
type wakes struct {
	runList
	calls []*PushCall
}

// Changed wakes the sessions and callers that the changes concern.
func (o *observer) Changed(list []Change) {
	g := (*Gateway)(o)
	var woken wakes
	for _, c := range list {
		switch c := c.(type) {
		case *Accepted:
			if s := g.hub.session(c.Client); s != nil && s.offer(&c.Parcel, g.lastMany) {
				woken.add(s)
			}
		case *AcceptedMany:
			g.lastMany = c.Seq
			g.broadcast(c)
		case *Settlement:
			g.settled(c, &woken)
		case *SettledAll:
			g.settledAll(c, &woken)
		case *Uplinked:
			g.uplinked(c.Uplink)
		case *Reopened:
			for s := range g.hub.all {
				if s.reopened() {
					woken.add(s)
				}
			}
		}
	}
	g.runs.pushAll(&woken.runList)
	if woken.calls != nil {
		go endAll(woken.calls)
	}
}

package gateway

import (
	"time"
)

// Page is one page of a list. More is set when rows may follow. The next page
// starts after Next, which need not be the key of the last item: a page may hold
// fewer rows than asked for when a filter passed over many.
type Page[T any, K any] struct {
	Items []T
	Next  K
	More  bool
}

// ClientEventQuery selects events of one client. The log has no index by client, so that a
// page also ends when the store has looked at many events.
type ClientEventQuery struct {
	Client ClientID
	Before uint64 // below this number, such as Next of the page before; 0 = from the end of the log
	After  uint64 // above this number
	Limit  int    // events of the page
	Scan   int    // events of any client that the store looks at, in all about so many
}

// TransmissionQuery selects queued transmissions of one client.
type TransmissionQuery struct {
	Client   ClientID
	Ref      uint32 // ClientRecord.Ref, or 0
	After    Seq
	Max      int
	MaxBytes int
}

// ClientQuery selects clients. Zero values select all.
type ClientQuery struct {
	Prefix   string
	Group    string
	Labels   map[string]string
	QueuedGT int // more queued than this; -1 = any
	// QueuedBefore selects clients whose oldest queued delivery was accepted earlier;
	// zero = any.
	QueuedBefore time.Time
	Descending   bool     // the highest id first
	From         ClientID // the first id in the order that may be in the page, known or not; "" = no bound
	After        ClientID // the page starts behind it in the order
	Limit        int
}

// MessageQuery selects messages, newest first unless Ascending is set.
type MessageQuery struct {
	// State is 0 for any. Queued selects messages that are not completed; a
	// final state selects completed messages with at least one such delivery.
	State  State
	Since  time.Time // created at or after; zero = any
	Before MessageID // "" = from the newest
	// CreatedBefore selects messages that were created earlier; zero = any.
	CreatedBefore time.Time
	// Ascending lists the oldest first, from behind After; "" = from the oldest.
	Ascending bool
	After     MessageID
	Limit     int
}

// DeliveryQuery selects deliveries of one message.
type DeliveryQuery struct {
	Message MessageID
	State   State // 0 = any
	After   ClientID
	Limit   int
}

// ClientDeliveryQuery selects deliveries to one client, newest first.
type ClientDeliveryQuery struct {
	Client  ClientID
	State   State // 0 = any
	Pending bool  // all that are not final; replaces State
	Before  Seq   // 0 = from the newest
	Since   time.Time
	Limit   int
}

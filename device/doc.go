// Package device is the Go SDK for devices. A Client keeps one connection to a
// Longwire gateway, hands deliveries to a Handler, and sends uplinks:
//
//	c, err := device.New(device.Config{Addr: "localhost:6666", ID: "sensor-7",
//		Handler: func(ctx context.Context, m device.Message) ([]byte, error) {
//			return []byte("done"), open(m.Payload)
//		}})
//	…
//	err = c.Run(ctx) // until ctx ends, or the gateway says not to come back
//
// # What is promised
//
// A delivery is acked after the Handler has returned and State has saved the
// verdict, never before. In v2 nothing that was handled is handled again: when
// the gateway does not know what became of a delivery, it asks, and the Client
// answers with the verdict and the result that it gave. With a State that
// survives the process, such as FileState, this holds across restarts too, but
// for a crash between the Handler's return and the end of State.Save, and until
// the gateway names another log. The memory is bounded: see Ledger.
//
// The text dialect does not name its log, so a Client recognises repeats there
// only as long as the process lives. v1 has no numbers at all: there a repeat is
// handled again.
//
// Send returns nil when the gateway has acked the payload with ok: then it is
// stored. An uplink that was not acked is sent again, on the next connection if
// need be, so the gateway may store it more than once.
//
// # Goroutines
//
//	Run        dials, backs off, and owns the protocol session of the one
//	           connection there is: every call into it is made here
//	reader     one per connection; ends when Run closes the connection
//	writer     one per connection; ends when Run closes its queue
//	workers    Config.Workers of them, for as long as Run runs; each calls the
//	           Handler for one delivery at a time
//
// Workers and callers of Send leave what they have in a mailbox and wake Run.
// Run returns when all of them have ended.
package device

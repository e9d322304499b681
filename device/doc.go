// Package device is the Go SDK for devices. A Client keeps one connection to a
// Longwire gateway, hands deliveries to a Handler, and sends uplinks:
//
//	c, err := device.New(device.Config{Addr: "localhost:6666", ID: "sensor-7",
//		Handler: func(ctx context.Context, m device.Message) ([]byte, error) {
//			return []byte("done"), open(m.Payload)
//		}})
//	…
//	err = c.Run(ctx) // until ctx ends, or the gateway forbids a reconnect
//
// # Guarantees
//
// A delivery is acked after the Handler has returned, or after a call of Answer if it
// returned Later, and State has saved the verdict, never before. In v2 a handled delivery is not handled again: if the
// gateway does not know the verdict, it asks, and the Client answers with the
// verdict and the result that it gave. With a State that survives the process,
// such as that of OpenFileState, this also holds across restarts, with two exceptions: a
// crash between the Handler's return and the end of State.Save, and a gateway
// that names another log. The memory is bounded: see Ledger.
//
// The text dialect does not name its log, so a Client recognizes repeats only
// while the process lives. v1 has no numbers: a repeat is handled again.
//
// Send returns nil when the gateway has acked the payload with ok, which means
// that it is stored. An uplink that was not acked is sent again, if necessary on
// the next connection, so the gateway may store it more than once. Payloads that
// wait in Send are in memory alone and end with the process: a device that must
// not lose one keeps it until Send has returned nil.
//
// # Goroutines
//
//	Run        dials, backs off, and owns the protocol session of the current
//	           connection: only Run's goroutine calls into it
//	reader     one per connection; ends when Run closes the connection
//	writer     one per connection; ends when Run closes its queue
//	workers    Config.Workers of them, while Run runs; each calls the Handler for
//	           one delivery at a time
//
// Workers and callers of Send put their answers and uplinks into a mailbox and
// wake Run. Run returns when all of these goroutines have ended.
package device

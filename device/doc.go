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
// A delivery is acked after the Handler has returned, never before. A repeat of
// a delivery that was handled is acked again and not handled again; with a
// State that survives the process this holds across restarts too, but for a
// crash between the Handler's return and State.Save. The text dialect does not
// name its log, so there the memory of the process is all there is, and v1 has
// no numbers at all: there a repeat is handled again.
//
// Send returns nil when the gateway has stored the payload. An uplink that was
// not acked is sent again, on the next connection if need be, so the gateway
// may see it more than once.
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

// Package client calls the HTTP API of a Longwire gateway. It uses the standard
// library only.
//
//	c, err := client.New("http://127.0.0.1:8080", client.WithAPIKey(key))
//	m, err := c.Push(ctx, "truck-17", client.Push{
//		Payload: client.Text("lock"),
//		Wait:    5 * time.Second,
//	})
//	if m.Status == client.Acked { … }
//
// # Retries
//
// A request is repeated only if it cannot act twice. Reads and changes of a client record
// are safe. A durable push carries an idempotency key, which the package makes if the caller
// gave none: a repeat after a timeout finds the message that the first attempt stored. A
// push with Mode Online has a key only if the caller gave one; the gateway then sends it at
// most once. Without a key, and with a removal or a cancellation, the request is repeated
// only if it was certainly not accepted: the connection could not be opened, or the gateway
// answered that the rate is limited or that it is draining. A Retry-After is obeyed.
//
// All attempts of a read take 30 s at most, and the time that it asks the gateway to wait:
// a gateway that accepts a connection and never answers is not asked again. Those of a
// change take twice as long. The pauses between attempts come on top.
//
// # Errors
//
// An answer that is not a success is a *Problem (RFC 9457). Its Code is stable,
// and callers may branch on it:
//
//	if p, ok := errors.AsType[*client.Problem](err); ok && p.Code() == client.CodeClientOffline { … }
//
// Any other error means that no answer of a gateway came: the outcome is unknown, not
// refused. A redirect that makes a GET of another request is such an error: give the address
// that it leads to.
package client

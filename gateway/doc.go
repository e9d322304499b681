// Package gateway is the domain: clients, presence, messages, deliveries and the
// live sessions that carry them. It imports the standard library only and knows
// neither HTTP nor frames. It has two ports: Store, the durable half, and Link,
// one live connection.
//
// # What a 202 promises
//
// Gateway.Push returns without an error only after Store.Accept has, and
// Store.Accept returns only when the message is on stable storage. From then on
// the message reaches exactly one final state per recipient. The gateway reports
// a final state only once it is durable.
//
// # Life of a delivery
//
//	queued → sent → acked
//	           ↘ rejected | expired | canceled | failed
//
// "sent" lives in memory: the bytes were flushed to the socket of the live
// session. It falls back to queued when that session ends. Only "acked" says that
// the device has the message.
package gateway

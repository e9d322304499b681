// Package gateway is the domain: clients, presence, messages, deliveries and
// the live sessions they travel over. It imports the standard library only,
// knows neither HTTP nor frames, and reaches the outside through two ports:
// Store, the durable half, and Link, one live connection.
//
// # What a 202 promises
//
// Gateway.Push returns without error only after Store.Accept did, and
// Store.Accept returns only when the message is on stable storage. From then
// on the message reaches exactly one final state per recipient, and a final
// state is told to anyone only once it is durable.
//
// # Life of a delivery
//
//	queued → sent → acked
//	           ↘ rejected | expired | canceled | failed
//
// "sent" lives in memory: it means the bytes were flushed to the socket of the
// session that is live now, and it falls back to queued when that session
// ends. Only "acked" says that the device has it.
package gateway

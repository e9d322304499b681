// Package deviceauth decides whether a device may register under the id that it
// names: by a shared token, a token of its own, a signed token (JWT), its
// certificate, or by asking an HTTP hook. What it refuses is kept in a bounded
// list, which operators read to see which devices fail to register.
//
// A credential is bound to an id when it says which device holds it; all are
// but the shared token. Ids that no credential is bound to are subject to the
// policy for unknown devices.
//
// Nothing here answers differently to a wrong credential and to an unknown id,
// and no error, log line or metric carries what a device has presented.
package deviceauth

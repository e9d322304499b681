// Package deviceauth decides whether a device may register under the id that it
// names. It checks a shared token, a token of the device, a signed token (JWT), a
// certificate, or asks an HTTP hook. It keeps a bounded list of refused devices,
// which shows operators the devices that fail to register.
//
// A credential is bound to an id if it names its holder. All kinds are, except the
// shared token. The policy for unknown devices decides about ids that no credential
// is bound to.
//
// The answers to a wrong credential and to an unknown id are the same. No error,
// log line or metric contains a presented credential.
package deviceauth

// Package certs keeps the TLS side of a listener as its files have it now:
// certificate, key, and where clients have to show a certificate of their own,
// the authorities that sign those. The files may be replaced at any time, in
// place, by rename, or by a symbolic link that moves (as Kubernetes does it
// with mounted secrets); the next handshake after the change was seen uses
// them. What cannot be used is told and changes nothing.
package certs

// Package certs keeps the TLS configuration of a listener up to date with its
// files: certificate, key, and the authorities of client certificates if clients
// must show one. The files may be replaced at any time, in place, by rename, or
// by a symbolic link that moves (as Kubernetes does with mounted secrets). The
// next handshake after a change was seen uses them. Files that cannot be used are
// logged and change nothing.
package certs

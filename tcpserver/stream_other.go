//go:build !unix

package tcpserver

import (
	"net"
	"syscall"
)

// rawConnOf returns nil: on this system package net offers no reads and writes that
// do not block.
func rawConnOf(net.Conn) syscall.RawConn { return nil }

func (s *stream) waitForInput(func(fd uintptr) bool) *inbound { return s.waitBlocking() }

func (s *stream) readReady(uintptr) bool { return true }

type rawWrite struct{}

func (w *rawWrite) init() {}

func (s *stream) reset() bool { return false }

func (s *stream) write(*outbound) (n int, err error) { return 0, nil }

func (s *stream) writeSome(o *outbound) (n int, err error) { return s.writeBlocking(o) }

//go:build !unix

package tcpserver

import (
	"net"
	"syscall"
)

// rawConnOf returns nil: reads and writes that do not block are not to be had
// through package net here.
func rawConnOf(net.Conn) syscall.RawConn { return nil }

func (c *conn) waitForInput(func(fd uintptr) bool) *inbound { return c.waitBlocking() }

func (c *conn) readReady(uintptr) bool { return true }

type rawWrite struct{}

func (w *rawWrite) init() {}

func (c *conn) tryWrite(*outbound) (n int, err error) { return 0, nil }

func (c *conn) writeSome(o *outbound) (n int, err error) { return c.writeBlocking(o) }

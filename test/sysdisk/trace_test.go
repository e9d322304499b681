//go:build linux

package sysdisk

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// tracedCalls are the calls that strace writes down: all that change files, those that
// move descriptors, and those that send.
const tracedCalls = "open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek," +
	"write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile,splice,mmap,io_uring_setup," +
	"fsync,fdatasync,sync_file_range,sync,syncfs," +
	"rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,mknodat," +
	"chmod,fchmod,fchmodat,bind,accept,accept4,sendto,sendmsg,fork,vfork"

// never is the end of a call that did not end.
const never = int(^uint(0) >> 1)

// call is one system call. Begin and end are moments: places in the trace, which
// rise. strace stops a thread before a call and after it, so the call took effect
// between the two.
type call struct {
	name       string
	args       []string // as strace prints them; strings are hexadecimal
	ret        string   // with the path or the socket of a descriptor
	begin, end int
}

// moment is the beginning or the end of a call.
type moment struct {
	*call
	ended bool
}

// readTrace returns the moments of a trace of strace -f -ttt -y -xx in their
// order, the first one numbered from.
func readTrace(r io.Reader, from int) (moments []moment, next int, err error) {
	open := map[string]*call{} // calls that another thread's interrupt, by thread
	lines := bufio.NewReaderSize(r, 1<<20)
	for at := from; ; at += 2 {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			for _, c := range open {
				c.end = never
			}
			return moments, at, nil
		}
		if err != nil {
			return nil, at, err
		}
		thread, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		_, rest, ok := strings.Cut(strings.TrimLeft(rest, " "), " ") // the time
		if !ok {
			return nil, at, fmt.Errorf("line of the trace %.80q", line)
		}
		switch {
		case strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "+++"): // a signal, an end
		case strings.HasPrefix(rest, "<... "):
			name, tail, _ := strings.Cut(rest[len("<... "):], " resumed>")
			c := open[thread]
			if c == nil || c.name != name {
				return nil, at, fmt.Errorf("%s of thread %s is resumed and did not begin", name, thread)
			}
			delete(open, thread)
			if err := c.finish(c.ret+tail, at+1); err != nil {
				return nil, at, err
			}
			moments = append(moments, moment{c, true})
		default:
			name, tail, _ := strings.Cut(rest, "(")
			c := &call{name: name, begin: at}
			moments = append(moments, moment{c, false})
			if head, interrupted := strings.CutSuffix(tail, " <unfinished ...>"); interrupted {
				c.ret, c.args = head, split(head) // ret keeps the text until the call is resumed
				open[thread] = c
				continue
			}
			if err := c.finish(tail, at+1); err != nil {
				return nil, at, err
			}
			moments = append(moments, moment{c, true})
		}
	}
}

// finish takes the text of a call behind its opening parenthesis.
func (c *call) finish(text string, at int) error {
	i := strings.LastIndex(text, ") ")
	if i < 0 {
		return fmt.Errorf("%s has no end: %.200q", c.name, text)
	}
	c.args = split(text[:i])
	c.ret = strings.TrimSpace(strings.TrimPrefix(strings.TrimLeft(text[i+2:], " "), "="))
	c.end = at
	return nil
}

// split cuts arguments at the commas outside of brackets.
func split(s string) (args []string) {
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		args = append(args, rest)
	}
	return args
}

func (c *call) failed() bool {
	return strings.HasPrefix(c.ret, "-1") || strings.HasPrefix(c.ret, "?")
}

// number is the returned number.
func (c *call) number() int64 {
	digits := strings.FieldsFunc(c.ret, func(r rune) bool { return r == ' ' || r == '<' })
	n, err := strconv.ParseInt(digits[0], 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s returned %q", c.name, c.ret))
	}
	return n
}

// arg is an argument, "" when there are fewer.
func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

// int is an argument that is a number.
func (c *call) int(i int) int64 {
	n, err := strconv.ParseInt(c.arg(i), 0, 64)
	if err != nil {
		panic(fmt.Sprintf("argument %d of %s is %.100q", i, c.name, c.arg(i)))
	}
	return n
}

// fd is an argument that is a descriptor, and where it leads: a path, a socket.
func (c *call) fd(i int) (fd int, leads string) { return descriptor(c.arg(i)) }

// descriptor reads "5<path>"; AT_FDCWD is -100.
func descriptor(s string) (fd int, leads string) {
	number, path, _ := strings.Cut(s, "<")
	if number == "AT_FDCWD" {
		number = "-100"
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		panic(fmt.Sprintf("%.100q is no descriptor", s))
	}
	path = strings.TrimSuffix(strings.TrimSuffix(path, "(deleted)"), ">")
	if b, err := unhex(path); err == nil {
		path = string(b)
	}
	return fd, path
}

// bytes is an argument that is a string, or a list of buffers.
func (c *call) bytes(i int) []byte {
	var all []byte
	rest := c.arg(i)
	for {
		_, s, ok := strings.Cut(rest, `"`)
		if !ok {
			return all
		}
		body, after, ok := strings.Cut(s, `"`)
		b, err := unhex(body)
		if !ok || err != nil || strings.HasPrefix(after, "...") {
			panic(fmt.Sprintf("argument %d of %s is cut or not hexadecimal: %.100q", i, c.name, c.arg(i)))
		}
		all, rest = append(all, b...), after
	}
}

// unhex reads \x61\x62.
func unhex(s string) ([]byte, error) {
	if len(s)%4 != 0 {
		return nil, hex.ErrLength
	}
	b := make([]byte, len(s)/4)
	for i := range b {
		v, err := strconv.ParseUint(s[4*i+2:4*i+4], 16, 8)
		if err != nil || s[4*i:4*i+2] != `\x` {
			return nil, hex.ErrLength
		}
		b[i] = byte(v)
	}
	return b, nil
}

// String is the call for people, without its data.
func (c *call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s(", c.name)
	for i, a := range c.args {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case strings.HasPrefix(a, `"`):
			data := c.bytes(i)
			fmt.Fprintf(&b, "%q", data[:min(len(data), 160)])
		case strings.Contains(a, `<\x`):
			fd, leads := descriptor(a)
			fmt.Fprintf(&b, "%d<%s>", fd, leads)
		default:
			fmt.Fprintf(&b, "%.160s", a)
		}
	}
	ret, _, _ := strings.Cut(c.ret, "<")
	fmt.Fprintf(&b, ") = %s   [%d, %d]", ret, c.begin, c.end)
	return b.String()
}

// recording is everything that the processes of a scenario did, one after the
// other.
type recording struct {
	disk    *disk
	moments []moment
	sent    sockets
	printed []output
	end     int // behind the last moment
}

// output is a write to the standard output.
type output struct {
	at   int // it may have been read from here on
	text []byte
}

// add takes the trace of one more process.
func (r *recording) add(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	moments, next, err := readTrace(f, r.end)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.moments, r.end = append(r.moments, moments...), next
	r.disk.process()
	r.sent.process()
	for _, m := range moments {
		if err := r.disk.apply(m); err != nil {
			return fmt.Errorf("%s: %w: %v", name, err, m.call)
		}
		r.sent.apply(m)
		if fd := m.arg(0); !m.ended && m.name == "write" && strings.HasPrefix(fd, "1<") {
			r.printed = append(r.printed, output{m.begin, m.bytes(1)})
		}
	}
	return nil
}

// around describes the calls on the disk before a moment.
func (r *recording) around(at int) string {
	var near []string
	for i := len(r.moments) - 1; i >= 0 && len(near) < 25; i-- {
		m := r.moments[i]
		if !m.ended && m.begin < at && (r.disk.concerns(m.call) && m.matters() || sends(m.call)) {
			near = append(near, m.String())
		}
	}
	var b strings.Builder
	for i := len(near) - 1; i >= 0; i-- {
		fmt.Fprintln(&b, "  ", near[i])
	}
	return b.String()
}

// matters reports whether a call can change a disk, or says what is on it.
func (c *call) matters() bool {
	switch c.name {
	case "close", "mmap", "fcntl", "lseek", "sync_file_range":
		return false
	case "open", "openat":
		return strings.Contains(strings.Join(c.args, ","), "O_CREAT") || strings.Contains(strings.Join(c.args, ","), "O_TRUNC")
	}
	return true
}

// printedAt is when a text was first printed, never if it was not.
func (r *recording) printedAt(t *testing.T, text string) int {
	t.Helper()
	for _, p := range r.printed {
		if bytes.Contains(p.text, []byte(text)) {
			return p.at
		}
	}
	t.Fatalf("%q was not printed", text)
	return never
}

//go:build linux

package sysdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// disk follows the calls of processes on the files below a root, and rebuilds what
// a power cut may leave of them.
type disk struct {
	root  string
	top   *inode
	files []*inode
	names []*nameOp       // of all directories, in order
	fds   map[int]*handle // of the process that runs
}

// inode is a file or a directory.
type inode struct {
	number int
	kind   fs.FileMode // ModeDir, ModeSocket or 0
	mode   fs.FileMode // permissions
	syncs  []*call

	// Of a file.
	base   []byte // synced before the trace began
	writes []*dataOp
	size   int64 // as the process sees it

	// Of a directory.
	old     map[string]*inode // synced before the trace began
	entries map[string]*inode // as the process sees it
	changes []*nameOp
}

// handle is an open file description; duplicates of a descriptor share it.
type handle struct {
	*inode
	pos      int64
	appended bool // O_APPEND
}

// dataOp changes the content of a file: bytes at an offset, or with resize a new
// size, beyond which zeros are.
type dataOp struct {
	*call
	off    int64
	data   []byte
	resize bool
}

// nameOp changes names of one directory, all or none of them.
type nameOp struct {
	*call
	dir *inode
	set []entry
}

type entry struct {
	name string
	to   *inode // nil: the name is gone
}

// newDisk takes what is below root now as synced.
func newDisk(root string) (*disk, error) {
	d := &disk{root: root}
	var load func(path string) (*inode, error)
	load = func(path string) (*inode, error) {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		n := d.inode(info.Mode().Type(), info.Mode().Perm())
		if n.kind == 0 {
			n.base, err = os.ReadFile(path)
			n.size = int64(len(n.base))
			return n, err
		}
		list, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			child, err := load(filepath.Join(path, e.Name()))
			if err != nil {
				return nil, err
			}
			n.old[e.Name()], n.entries[e.Name()] = child, child
		}
		return n, nil
	}
	var err error
	d.top, err = load(root)
	return d, err
}

func (d *disk) inode(kind, mode fs.FileMode) *inode {
	n := &inode{number: len(d.files), kind: kind, mode: mode.Perm()}
	if kind == fs.ModeDir {
		n.old, n.entries = map[string]*inode{}, map[string]*inode{}
	}
	d.files = append(d.files, n)
	return n
}

// process begins another process.
func (d *disk) process() { d.fds = map[int]*handle{} }

// below cuts the root off a path. ok is false for paths elsewhere.
func (d *disk) below(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, d.root)
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}

// find returns the inode of a path below the root, nil when there is none.
func (d *disk) find(rest string) *inode {
	n := d.top
	for _, name := range strings.Split(rest, "/") {
		if name == "" || n == nil {
			continue
		}
		n = n.entries[name]
	}
	return n
}

// path is the path in two arguments, a directory's descriptor and a name.
func (c *call) path(dir, name int) string {
	p := string(c.bytes(name))
	if !filepath.IsAbs(p) {
		_, at := c.fd(dir)
		p = filepath.Join(at, p)
	}
	return filepath.Clean(p)
}

// plain gives a call without a directory's descriptor the one that it lacks.
func (c *call) plain() *call {
	with := *c
	switch c.name {
	case "open", "creat", "mkdir", "unlink", "rmdir", "chmod", "mknod":
		with.args = append([]string{"AT_FDCWD"}, c.args...)
	case "rename", "link", "symlink":
		with.args = []string{"AT_FDCWD", c.arg(0), "AT_FDCWD", c.arg(1)}
	}
	return &with
}

// concerns reports whether a call is about files below the root.
func (d *disk) concerns(c *call) bool {
	root := fmt.Sprintf("%x", d.root)
	for _, a := range c.args {
		if strings.Contains(strings.ReplaceAll(a, `\x`, ""), root) {
			return true
		}
	}
	return false
}

// apply takes in one moment. A call takes effect when it ends, but for close:
// another thread may get its number before its end is seen.
func (d *disk) apply(m moment) error {
	if !m.ended {
		if m.name == "close" {
			fd, _ := m.fd(0)
			delete(d.fds, fd)
		}
		if m.end == never && m.matters() && !strings.HasSuffix(m.name, "sync") && d.concerns(m.call) {
			return errors.New("the process ended in this call: it is not known what it did")
		}
		return nil
	}
	if m.failed() {
		return nil
	}
	c := m.plain()
	switch c.name {
	case "open", "openat", "creat":
		return d.open(c)
	case "dup", "dup2", "dup3":
		d.duplicate(c)
	case "fcntl":
		if strings.HasPrefix(c.arg(1), "F_DUPFD") {
			d.duplicate(c)
		}
	case "lseek":
		if h, err := d.handle(c); h != nil || err != nil {
			h.pos = c.number()
			return err
		}
	case "write", "writev", "pwrite64", "pwritev", "ftruncate":
		return d.change(c)
	case "copy_file_range":
		return d.copy(c)
	case "fallocate":
		if h, err := d.handle(c); err != nil || h != nil && c.arg(1) != "FALLOC_FL_KEEP_SIZE" {
			return errors.Join(err, errors.New("this way of fallocate is not in the model"))
		}
	case "fsync", "fdatasync":
		h, err := d.handle(c)
		if h != nil {
			h.syncs = append(h.syncs, c)
		}
		return err
	case "sync_file_range": // promises nothing
	case "rename", "renameat", "renameat2":
		return d.rename(c)
	case "link", "linkat":
		n := d.find(d.inside(c.path(0, 1)))
		return d.name(c, c.path(2, 3), n)
	case "unlink", "unlinkat", "rmdir":
		return d.name(c, c.path(0, 1), nil)
	case "mkdir", "mkdirat":
		mode, err := strconv.ParseUint(c.arg(2), 8, 32)
		if err != nil {
			return err
		}
		return d.name(c, c.path(0, 1), d.inode(fs.ModeDir, fs.FileMode(mode)&^umask))
	case "bind":
		return d.bind(c)
	case "chmod", "fchmod", "fchmodat":
		return d.chmod(c)
	case "mmap":
		if strings.Contains(c.arg(3), "MAP_SHARED") && strings.Contains(c.arg(2), "PROT_WRITE") && d.concerns(c) {
			return errors.New("a file is changed through memory, which no trace shows")
		}
	case "close", "accept", "accept4", "sendto", "sendmsg": // nothing of the disk
	default:
		if d.concerns(c) || c.name == "sync" || c.name == "io_uring_setup" || strings.HasSuffix(c.name, "fork") {
			return errors.New("this call is not in the model")
		}
	}
	return nil
}

// umask is that of the tests; their processes inherit it.
const umask fs.FileMode = 0o022

// inside is below, for paths that are known to be there.
func (d *disk) inside(path string) string {
	rest, ok := d.below(path)
	if !ok {
		return "\x00" // found nowhere
	}
	return rest
}

// handle is the open file of the first argument, nil for files elsewhere.
func (d *disk) handle(c *call) (*handle, error) {
	fd, path := c.fd(0)
	h := d.fds[fd]
	if _, ok := d.below(path); ok != (h != nil) {
		return nil, fmt.Errorf("descriptor %d is %s, which the model did not see opened", fd, path)
	}
	return h, nil
}

func (d *disk) open(c *call) error {
	fd, _ := descriptor(c.ret)
	delete(d.fds, fd)
	path := c.path(0, 1)
	rest, ok := d.below(path)
	if !ok {
		return nil
	}
	flags := c.arg(2)
	if c.name == "creat" {
		flags = "O_CREAT|O_TRUNC"
	}
	n := d.find(rest)
	switch {
	case n == nil && strings.Contains(flags, "O_CREAT"):
		mode, err := strconv.ParseUint(c.args[len(c.args)-1], 8, 32)
		if err != nil {
			return err
		}
		n = d.inode(0, fs.FileMode(mode)&^umask)
		if err := d.name(c, path, n); err != nil {
			return err
		}
	case n == nil:
		return errors.New("the file that was opened is not in the model")
	case strings.Contains(flags, "O_TRUNC") && n.size > 0:
		n.writes = append(n.writes, &dataOp{call: c, resize: true})
		n.size = 0
	}
	d.fds[fd] = &handle{inode: n, appended: strings.Contains(flags, "O_APPEND")}
	return nil
}

func (d *disk) duplicate(c *call) {
	from, _ := c.fd(0)
	to, _ := descriptor(c.ret)
	delete(d.fds, to)
	if h := d.fds[from]; h != nil {
		d.fds[to] = h
	}
}

// change is a write, or a new size.
func (d *disk) change(c *call) error {
	h, err := d.handle(c)
	if h == nil || err != nil {
		return err
	}
	if c.name == "ftruncate" {
		h.writes = append(h.writes, &dataOp{call: c, off: c.int(1), resize: true})
		h.size = c.int(1)
		return nil
	}
	op := &dataOp{call: c, data: c.bytes(1)[:c.number()]}
	switch {
	case h.appended:
		op.off = h.size
	case strings.HasPrefix(c.name, "p"):
		op.off = c.int(3)
	default:
		op.off = h.pos
		h.pos += c.number()
	}
	h.size = max(h.size, op.off+int64(len(op.data)))
	h.writes = append(h.writes, op)
	return nil
}

// copy is a write of what another file holds.
func (d *disk) copy(c *call) error {
	from, err := d.handle(c)
	fd, _ := c.fd(2)
	to := d.fds[fd]
	if err != nil || from == nil && to == nil {
		return err
	}
	if from == nil || to == nil || to.appended || c.arg(1) != "NULL" || c.arg(3) != "NULL" {
		return errors.New("this way of copy_file_range is not in the model")
	}
	b := slices.Clone(from.base)
	for _, op := range from.writes {
		b = op.on(b)
	}
	n := c.number()
	if n == 0 {
		return nil
	}
	op := &dataOp{call: c, off: to.pos, data: b[from.pos : from.pos+n]}
	to.writes, to.size = append(to.writes, op), max(to.size, to.pos+n)
	from.pos, to.pos = from.pos+n, to.pos+n
	return nil
}

// name lets a path lead to an inode, or with nil to nothing.
func (d *disk) name(c *call, path string, to *inode) error {
	rest, ok := d.below(path)
	if !ok {
		if to != nil && to.kind == 0 && c.name != "link" && c.name != "linkat" {
			return errors.New("a file leaves the directory that the model follows")
		}
		return nil
	}
	dir := d.find(filepath.Dir("/" + rest))
	if dir == nil || dir.kind != fs.ModeDir {
		return errors.New("the directory is not in the model")
	}
	return d.set(c, dir, entry{filepath.Base(rest), to})
}

func (d *disk) set(c *call, dir *inode, set ...entry) error {
	op := &nameOp{c, dir, set}
	dir.changes, d.names = append(dir.changes, op), append(d.names, op)
	for _, e := range set {
		if e.to == nil && dir.entries[e.name] == nil {
			return fmt.Errorf("%s, which is gone, was not in the model", e.name)
		}
		dir.put(e)
	}
	return nil
}

func (n *inode) put(e entry) { put(n.entries, e) }

func put(entries map[string]*inode, e entry) {
	if e.to == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.to
	}
}

// rename within a directory is one change, between two it is two.
func (d *disk) rename(c *call) error {
	if flags := c.arg(4); flags != "" && flags != "0" && flags != "RENAME_NOREPLACE" {
		return errors.New("this way of renameat2 is not in the model")
	}
	from, to := c.path(0, 1), c.path(2, 3)
	n := d.find(d.inside(from))
	if n == nil {
		if _, ok := d.below(to); ok {
			return errors.New("a file comes from outside of the model")
		}
		return nil
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		dir := d.find(d.inside(filepath.Dir(from)))
		return d.set(c, dir, entry{filepath.Base(from), nil}, entry{filepath.Base(to), n})
	}
	return errors.Join(d.name(c, to, n), d.name(c, from, nil))
}

// bind makes a socket in the file system. It does not outlast its process, so it
// is never rebuilt.
func (d *disk) bind(c *call) error {
	_, quoted, ok := strings.Cut(c.arg(1), "sun_path=")
	if !ok {
		return nil
	}
	path := (&call{name: c.name, args: []string{strings.TrimSuffix(quoted, "}")}}).bytes(0)
	return d.name(c, string(path), d.inode(fs.ModeSocket, 0))
}

// chmod counts at once: no test cuts the power to find permissions lost.
func (d *disk) chmod(c *call) error {
	var n *inode
	mode := c.arg(2)
	if c.name == "fchmod" {
		h, err := d.handle(c)
		if h == nil || err != nil {
			return err
		}
		n, mode = h.inode, c.arg(1)
	} else if rest, ok := d.below(c.path(0, 1)); ok {
		n = d.find(rest)
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if n != nil {
		n.mode = fs.FileMode(bits)
	}
	return err
}

//go:build linux

package sysdisk

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// way is how a cut chooses among what was not synced.
type way int

const (
	synced   way = iota // nothing else is there
	finished            // all that the process did is there, as after a kill
	hollow              // all names and sizes are there, and zeros for data
	ordered             // names up to some moment, as a journal keeps them; data by pages
	pages               // any names; data by pages
	sectors             // any names; data by sectors
	ways                // how many there are
)

func (w way) String() string {
	return [...]string{"synced only", "all finished", "names and sizes", "journal and pages", "any names and pages",
		"any names and sectors"}[w]
}

// cut is a power cut: a moment, and what it leaves of that which was not synced.
type cut struct {
	at   int
	way  way
	seed uint64
	// forget is a fault of the disk, for controls: syncs that ended from this
	// moment on are as if they had not been. 0: none.
	forget int
}

func (c cut) String() string { return fmt.Sprintf("cut at %d (%s, seed %d)", c.at, c.way, c.seed) }

// power rebuilds a disk after a cut.
type power struct {
	cut
	disk  *disk
	rng   *rand.Rand
	made  map[*inode]string // paths of files, for their further names
	names int               // way ordered: how many changes of names are there
}

// rebuild makes the disk as it is after a cut, below dir.
func (d *disk) rebuild(c cut, dir string) error {
	p := &power{cut: c, disk: d, rng: rand.New(rand.NewPCG(c.seed, uint64(c.at))), made: map[*inode]string{}}
	if c.way == ordered {
		p.orderNames()
	}
	return p.directory(d.top, dir)
}

// covers reports whether a sync says that what had ended before it is on the disk.
func (p *power) covers(sync *call) bool {
	return sync.end < p.at && (p.forget == 0 || sync.end < p.forget)
}

// safe is the moment up to which the changes of an inode are synced: those that
// ended before the last sync began.
func (p *power) safe(n *inode) (moment int) {
	for _, s := range n.syncs {
		if p.covers(s) {
			moment = max(moment, s.begin)
		}
	}
	return moment
}

// orderNames chooses how far the journal of names was written: at least to the
// last change that a sync covers, which takes everything before it along.
func (p *power) orderNames() {
	begun, least := 0, 0
	for i, op := range p.disk.names {
		if op.begin < p.at {
			begun = i + 1
			if op.end < p.safe(op.dir) {
				least = i + 1
			}
		}
	}
	p.names = least + p.rng.IntN(begun-least+1)
}

// entries are the names of a directory after the cut.
func (p *power) entries(dir *inode) map[string]*inode {
	left := map[string]*inode{}
	for name, n := range dir.old {
		left[name] = n
	}
	safe, lucky := p.safe(dir), p.rng.Float64()
	for _, op := range dir.changes {
		if op.begin >= p.at {
			continue
		}
		there := op.end < safe
		switch p.way {
		case synced:
		case finished:
			there = there || op.end < p.at
		case hollow:
			there = true
		case ordered:
			there = there || slices.Index(p.disk.names[:p.names], op) >= 0
		default:
			there = there || p.rng.Float64() < lucky
		}
		if !there {
			continue
		}
		for _, e := range op.set {
			put(left, e)
		}
	}
	return left
}

func (p *power) directory(n *inode, path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	left := p.entries(n)
	for _, name := range sortedNames(left) {
		if err := p.make(left[name], filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return os.Chmod(path, n.mode|0o700)
}

func (p *power) make(n *inode, path string) error {
	switch n.kind {
	case fs.ModeSocket:
		return nil
	case fs.ModeDir:
		return p.directory(n, path)
	}
	if first, ok := p.made[n]; ok {
		return os.Link(first, path)
	}
	p.made[n] = path
	if err := os.WriteFile(path, p.content(n), 0o600); err != nil {
		return err
	}
	return os.Chmod(path, n.mode)
}

// content is what a file holds after the cut.
func (p *power) content(n *inode) []byte {
	b := slices.Clone(n.base)
	safe := p.safe(n)
	var loose []*dataOp // begun, not synced
	for _, op := range n.writes {
		switch {
		case op.end < safe:
			b = op.on(b)
		case op.begin < p.at:
			loose = append(loose, op)
		}
	}
	switch p.way {
	case synced:
		return b
	case finished:
		for _, op := range loose {
			if op.end < p.at {
				b = op.on(b)
			}
		}
		return b
	}
	// A file that shrank has no parts of before: it is as it was at some moment
	// until then, or it has shrunk.
	for i := len(loose) - 1; i >= 0; i-- {
		if loose[i].resize {
			k := p.rng.IntN(i + 2)
			for _, op := range loose[:k] {
				b = op.on(b)
			}
			if k <= i {
				return b
			}
			loose = loose[i+1:]
			break
		}
	}
	return p.parts(b, loose)
}

// parts chooses for each block of a file one of the contents that it had since b.
func (p *power) parts(b []byte, loose []*dataOp) []byte {
	grown := slices.Clone(b)
	sized := len(loose)
	if p.way != hollow {
		sized = p.rng.IntN(len(loose) + 1)
	}
	size := len(b)
	for i, op := range loose {
		grown = op.on(grown)
		if i < sized {
			size = max(size, len(grown))
		}
	}
	if p.way == hollow {
		return append(slices.Clone(b), make([]byte, size-len(b))...)
	}
	block := 4096
	if p.way == sectors {
		block = 512
	}
	lucky := p.rng.Float64() // of one file much is there, of another little
	out := make([]byte, size)
	copy(out, b)
	for at := 0; at < size; at += block {
		end := min(at+block, size)
		var over []*dataOp // that change this block
		for _, op := range loose {
			if int(op.off) < end && int(op.off)+len(op.data) > at {
				over = append(over, op)
			}
		}
		k := 0
		switch {
		case len(over) == 0:
		case p.rng.Float64() < lucky:
			k = len(over)
		default:
			k = p.rng.IntN(len(over) + 1)
		}
		for _, op := range over[:k] {
			op.within(out, at, end)
		}
	}
	return out
}

// on applies a change to a whole content.
func (op *dataOp) on(b []byte) []byte {
	end := int(op.off) + len(op.data)
	if op.resize && end < len(b) {
		return b[:end]
	}
	if end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[op.off:], op.data)
	return b
}

// within applies a change to the bytes from at to end of a content.
func (op *dataOp) within(b []byte, at, end int) {
	from, to := max(at, int(op.off)), min(end, int(op.off)+len(op.data))
	copy(b[from:to], op.data[from-int(op.off):to-int(op.off)])
}

func sortedNames(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

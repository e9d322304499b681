// Package shares divides scarce resources between their owners: each owner has a
// share, all together have a budget, and the owner that holds most gives way
// first.
package shares

import (
	"sync"
	"sync/atomic"
	"time"
)

// linesEvery is the time for which a source's lines are counted.
const linesEvery = time.Minute

// maxSources bounds the sources that are counted apart in one minute. The
// sources beyond it share one count.
const maxSources = 256

// Others stands for the sources beyond the bound.
const Others = "others"

// Lines bounds the lines that the sources of requests leave in a log. In each
// minute a source writes its first lines one by one. The lines after them are
// counted, and one line about them follows when the minute is over.
//
// Lines has no goroutine: the first Take or Turn after the minute reports it.
// All methods may be called from any goroutine.
type Lines struct {
	each, all int
	report    func(source string, held int)

	until atomic.Int64 // Unix nanoseconds: the end of the minute
	held  atomic.Uint64

	mu      sync.Mutex
	wrote   int
	sources map[string]*lineCount
}

// lineCount is one source's lines of a minute.
type lineCount struct{ wrote, held int }

// NewLines returns a bound of each lines from one source and all lines in one
// minute. It calls report for each source that had more, and holds no lock then.
func NewLines(each, all int, report func(source string, held int)) *Lines {
	return &Lines{each: each, all: all, report: report, sources: make(map[string]*lineCount)}
}

// Take counts a line and reports whether it is to be written.
func (l *Lines) Take(source string, now time.Time) bool {
	l.Turn(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.sources[source]
	if c == nil && len(l.sources) >= maxSources {
		source = Others
		c = l.sources[source]
	}
	if c == nil {
		c = &lineCount{}
		l.sources[source] = c
	}
	if c.wrote >= l.each || l.wrote >= l.all {
		c.held++
		l.held.Add(1)
		return false
	}
	c.wrote++
	l.wrote++
	return true
}

// Turn reports the minute that has ended, if one has.
func (l *Lines) Turn(now time.Time) {
	if until := l.until.Load(); now.UnixNano() >= until && l.until.CompareAndSwap(until, now.Add(linesEvery).UnixNano()) {
		l.Flush()
	}
}

// Flush reports the lines that are held now and counts anew.
func (l *Lines) Flush() {
	l.mu.Lock()
	sources := l.sources
	l.sources, l.wrote = make(map[string]*lineCount), 0
	l.mu.Unlock()
	for source, c := range sources {
		if c.held > 0 {
			l.report(source, c.held)
		}
	}
}

// Held returns how many lines were not written since the start.
func (l *Lines) Held() uint64 { return l.held.Load() }

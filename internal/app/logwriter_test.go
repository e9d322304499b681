package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stalledLog takes nothing until it is released.
type stalledLog struct {
	strings.Builder
	released chan struct{}
}

func (l *stalledLog) Write(b []byte) (int, error) {
	<-l.released
	return l.Builder.Write(b)
}

func tellGap(out io.Writer, lost int) { fmt.Fprintf(out, "%d lost\n", lost) }

// Nothing waits for a log that takes no lines. It has the oldest lines when it goes on,
// and says how many are missing.
func TestNothingWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &stalledLog{released: make(chan struct{})}
		w := newLogWriter(log, tellGap)
		line := strings.Repeat("x", 1023) + "\n"
		begun, written, lost := time.Now(), 0, 0
		for range 3 * maxLogBytes / len(line) {
			n, err := io.WriteString(w, line)
			switch {
			case err == nil && n == len(line):
				written++
			case errors.Is(err, errLogFull):
				lost++
			default:
				t.Fatalf("%d bytes, %v", n, err)
			}
			synctest.Wait()
		}
		if written*len(line) < maxLogBytes || lost == 0 {
			t.Errorf("%d lines wait, %d are lost", written, lost)
		}
		w.Close()
		if waited := time.Since(begun); waited != logPatience {
			t.Errorf("the end waits for %v, want %v", waited, logPatience)
		}
		close(log.released)
		<-w.ended
		if want := strings.Repeat(line, written) + fmt.Sprintf("%d lost\n", lost); log.String() != want {
			t.Errorf("the log has %d bytes, want %d; it ends in %q", log.Len(), len(want), log.String()[max(0, log.Len()-20):])
		}
	})
}

// All lines are in the log when its writer is closed, also those after that.
func TestTheLogIsCompleteAtTheEnd(t *testing.T) {
	var log strings.Builder
	w := newLogWriter(&log, tellGap)
	want := ""
	for i := range 1000 {
		want += fmt.Sprintln(i)
		fmt.Fprintln(w, i)
	}
	w.Close()
	w.Close()
	fmt.Fprintln(w, "late")
	if want += "late\n"; log.String() != want {
		t.Errorf("the log has %d bytes, want %d", log.Len(), len(want))
	}
}

// A log that fails says so to the next line, for the audit log that goes there.
func TestAFailingLogSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLogWriter(failingLog{}, tellGap)
		defer w.Close()
		if _, err := io.WriteString(w, "a\n"); err != nil {
			t.Errorf("the first line: %v", err)
		}
		synctest.Wait()
		if _, err := io.WriteString(w, "b\n"); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("the second line: %v, want the error of the first", err)
		}
	})
}

// A disk that was full for a time has a line about the lines that it did not take.
func TestLinesThatFailAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fullLog{room: 3}
		w := newLogWriter(log, tellGap)
		for _, line := range []string{"a\n", "b\nc\n", "d\n"} {
			_, _ = io.WriteString(w, line)
			synctest.Wait()
		}
		log.room = 100
		_, _ = io.WriteString(w, "e\n")
		w.Close()
		if want := "a\nbe\n3 lost\n"; log.String() != want {
			t.Errorf("the log has %q, want %q", log.String(), want)
		}
	})
}

// fullLog has room for some bytes.
type fullLog struct {
	strings.Builder
	room int
}

func (l *fullLog) Write(b []byte) (int, error) {
	n, _ := l.Builder.Write(b[:min(len(b), l.room)])
	l.room -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

type failingLog struct{}

func (failingLog) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

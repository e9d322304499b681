package tcpserver

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorkersComeAndGoWithTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, done atomic.Int32
		release := make(chan struct{})
		w := startWorkers(func(*conn) {
			running.Add(1)
			<-release
			running.Add(-1)
			done.Add(1)
		}, 3, 1)
		want := func(when string, run, started, idle int) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if int(running.Load()) != run || w.started != started || w.idle != idle {
				t.Errorf("%s: %d run, %d started, %d idle, want %d, %d, %d", when, running.Load(), w.started, w.idle, run, started, idle)
			}
		}
		want("at first", 0, 1, 1)
		for range 5 {
			w.push(new(conn))
		}
		want("with work for five", 3, 3, 0)
		for range 2 {
			release <- struct{}{}
		}
		want("when two are done", 3, 3, 0)
		for range 3 {
			release <- struct{}{}
		}
		want("when all are done", 0, 1, 1)
		w.push(new(conn))
		want("with work for the one that waits", 1, 1, 0)
		w.push(new(conn))
		close(release)
		w.stop()
		if done.Load() != 7 || w.started != 0 {
			t.Errorf("%d done, %d workers left, want 7 and 0", done.Load(), w.started)
		}
	})
}

func TestStoreCallsShareADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{cfg: Config{StoreTimeout: 16 * time.Second}}
		s.ctx, s.cancel = context.WithCancel(t.Context())
		left := func(ctx context.Context) time.Duration {
			at, _ := ctx.Deadline()
			return time.Until(at)
		}
		first := s.callContext()
		if got := left(first); got != 17*time.Second {
			t.Errorf("the first call has %s, want 17s", got)
		}
		time.Sleep(time.Second - time.Nanosecond)
		if s.callContext() != first {
			t.Error("a call within the same second has a deadline of its own")
		}
		time.Sleep(time.Nanosecond)
		next := s.callContext()
		if got := left(next); next == first || got != 17*time.Second {
			t.Errorf("a call a second later has %s, want 17s", got)
		}
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if first.Err() != context.DeadlineExceeded || next.Err() != nil {
			t.Errorf("after 17s the calls end with %v and %v, want only the first ended", first.Err(), next.Err())
		}
		s.cancel()
		if next.Err() == nil {
			t.Error("a call outlives the server")
		}
	})
}

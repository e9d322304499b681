//go:build unix

package app

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// BenchmarkPushWithTimelines pushes to devices that ack at once, in turns to a gateway
// with timelines and to one without, and compares the CPU time of the turns in pairs.
// Devices, gateway and callers are in this process; the store is in memory.
func BenchmarkPushWithTimelines(b *testing.B) {
	const devices, turn, callers = 64, 250, 16
	sides := [2]*App{}
	for i := range sides {
		cfg := testConfig(b.TempDir())
		cfg.Data.Engine, cfg.Events.Timeline = config.EngineMemory, i == 0
		a, err := New(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		a.Start()
		b.Cleanup(func() { a.Stop(b.Context()) })
		for n := range devices {
			acking(b, a, fmt.Sprint("device-", n))
		}
		sides[i] = a
	}
	push := func(a *App, n int) {
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := c; i < n; i += callers {
					r := httptest.NewRequest("POST", fmt.Sprint("http://localhost/v1/clients/device-", i%devices, "/messages?wait=10s"), strings.NewReader("open the door"))
					w := httptest.NewRecorder()
					if a.http.Handler.ServeHTTP(w, r); w.Code != 200 {
						b.Errorf("%d %s", w.Code, w.Body)
					}
				}
			})
		}
		wg.Wait()
	}
	push(sides[0], turn)
	push(sides[1], turn)
	var ratios []float64
	var each [2]time.Duration
	n := 0
	for b.Loop() {
		var cpu [2]time.Duration
		for i := range sides {
			side := (i + n) % 2 // each is the first one in every other pair
			before := cpuTime()
			push(sides[side], turn)
			cpu[side] = cpuTime() - before
			each[side] += cpu[side]
		}
		n++
		ratios = append(ratios, float64(cpu[0])/float64(cpu[1]))
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(each[0].Nanoseconds())/float64(n*turn), "cpu-ns/push")
	b.ReportMetric(float64(each[1].Nanoseconds())/float64(n*turn), "cpu-ns/push-off")
	b.ReportMetric(ratios[len(ratios)/2], "ratio-median")
	b.ReportMetric(float64(each[0])/float64(each[1]), "ratio-sum")
}

// acking connects a v2 device that acks every payload.
func acking(b *testing.B, a *App, id string) {
	c, err := net.Dial("tcp", a.TCPAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	io.WriteString(c, v2Frame(1, 0, []byte(fmt.Sprintf(`{"id":%q}`, id))))
	registered := make(chan struct{})
	go func() {
		r := bufio.NewReader(c)
		for {
			var head [2]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			n, err := binary.ReadUvarint(r)
			body := make([]byte, n)
			if _, e := io.ReadFull(r, body); err != nil || e != nil {
				return
			}
			switch head[0] {
			case 2:
				close(registered)
			case 3:
				io.WriteString(c, v2Frame(4, 0))
			case 5:
				seq, _ := binary.Uvarint(body)
				io.WriteString(c, v2Frame(6, 0, number(seq), []byte{0}))
			}
		}
	}()
	<-registered
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

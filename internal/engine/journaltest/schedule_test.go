package journaltest

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	schedules = flag.Int("schedules", ordinary, "schedules of TestSchedules for each number of nodes")
	seed      = flag.Uint64("seed", 0, "run the schedule with this seed alone")
)

// TestSchedules runs random schedules of two and of three nodes. A long run:
//
//	go test ./internal/engine/journaltest -run TestSchedules -schedules=100000 -timeout=0
func TestSchedules(t *testing.T) {
	for _, nodes := range []int{2, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			if *seed != 0 {
				if _, err := (Schedule{Seed: *seed, Nodes: nodes}).Run(); err != nil {
					t.Error(err)
				}
				return
			}
			total, err := runAll(nodes, *schedules, Rules{})
			if err != nil {
				t.Errorf("%v\nto repeat it: go test ./internal/engine/journaltest -run 'TestSchedules/%d' -seed=<seed>", err, nodes)
			}
			t.Logf("%d schedules: %+v", *schedules, total)
			if total.Answered == 0 || total.Holes == 0 || total.Repeats == 0 || total.Fenced == 0 || total.Left == 0 || total.Kills == 0 {
				t.Errorf("the schedules do not reach everything: %+v", total)
			}
		})
	}
}

// runAll runs schedules with the seeds from 1 on all cores, until one fails.
func runAll(nodes, count int, rules Rules) (total Totals, failed error) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next atomic.Uint64
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				s := next.Add(1)
				mu.Lock()
				over := failed != nil || s > uint64(count)
				mu.Unlock()
				if over {
					return
				}
				totals, err := Schedule{Seed: s, Nodes: nodes, Rules: rules}.Run()
				mu.Lock()
				total.Add(totals)
				if err != nil && failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, failed
}

// Each rule of the protocol is needed: without it some schedule fails.
func TestEachRuleIsNeeded(t *testing.T) {
	for name, rules := range map[string]Rules{
		"the number after the last":                    {AnyHigher: true},
		"an opening names the boot before":             {OpenAlways: true},
		"another boot is fenced":                       {NoFence: true},
		"answered when applied, not when read":         {AnswerStored: true},
		"answered when applied, not when appended":     {AnswerAppended: true},
		"appended again":                               {NeverAgain: true},
		"appended again after a time":                  {HolesOnly: true},
		"bytes unchanged":                              {FreshBytes: true},
		"bytes compared":                               {AnyBytes: true},
		"ordered before it is applied":                 {ApplyFirst: true},
		"none of them, as the engine was before boots": {ApplyFirst: true, AnyHigher: true, NoFence: true, OpenAlways: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, nodes := range []int{2, 3} {
				totals, err := runAll(nodes, 3000, rules)
				if err == nil {
					t.Errorf("%d nodes: all schedules hold without the rule: %+v", nodes, totals)
				} else {
					t.Log(err)
				}
			}
		})
	}
}

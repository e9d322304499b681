package bench

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestRecorder(t *testing.T) {
	var r recorder
	if r.total() != 0 || r.quantile(0.5) != 0 || !math.IsNaN(r.ms(0.5)) {
		t.Error("an empty recorder has values")
	}
	for i := range 1000 {
		r.observe(time.Duration(i+1) * time.Millisecond)
	}
	r.observe(-time.Second)
	r.observe(time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: longest} {
		if got := r.quantile(q); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	text, err := json.Marshal(report{Joined: r})
	if err != nil {
		t.Fatal(err)
	}
	var again report
	if err := json.Unmarshal(text, &again); err != nil || again.Joined.total() != 1002 || again.Joined.quantile(0.5) != r.quantile(0.5) {
		t.Errorf("what was read back has %d observations: %v", again.Joined.total(), err)
	}
	var sum recorder
	sum.add(&recorder{})
	sum.add(&r)
	sum.add(&again.Joined)
	if sum.total() != 2004 {
		t.Errorf("the sum has %d observations, want 2004", sum.total())
	}
}

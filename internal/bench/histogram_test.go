package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketHoldsItsDuration(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		d := time.Duration(random.Int64N(int64(longest) >> random.IntN(36)))
		b := bucketOf(d)
		end := endOf(b)
		if end < d || float64(end) > float64(d)*(1+1.0/steps) {
			t.Fatalf("%d ns is in bucket %d, which ends at %d: not between it and 1/%d above", d, b, end, steps)
		}
	}
}

func TestBucketsFollowOneAnother(t *testing.T) {
	for i := range buckets {
		if got := bucketOf(endOf(i)); got != i {
			t.Fatalf("bucket %d ends at %d, which is in bucket %d", i, endOf(i), got)
		}
		if got := bucketOf(endOf(i) + 1); got != i+1 {
			t.Fatalf("after the end of bucket %d comes bucket %d", i, got)
		}
	}
}

func TestTooLongCountsAsLongest(t *testing.T) {
	var l latencies
	l.observe(math.MaxInt64)
	l.observe(-1)
	if got := l.quantile(1); got < longest || float64(got) > float64(longest)*(1+1.0/steps) {
		t.Errorf("longest is %v, want %v", got, longest)
	}
	if got := l.quantile(0.5); got != 0 {
		t.Errorf("a negative duration counts as %v, want 0", got)
	}
}

// TestQuantileAgainstSorting compares with the exact answer.
func TestQuantileAgainstSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	var l, half latencies
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(math.Exp(random.NormFloat64()*1.5) * float64(time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			half.observe(d)
		} else {
			l.observe(d)
		}
	}
	l.add(&half)
	slices.Sort(all)
	if got := l.total(); got != uint64(len(all)) {
		t.Fatalf("%d observations, want %d", got, len(all))
	}
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
		if got := l.quantile(q); got < want || float64(got) > float64(want)*(1+1.0/steps) {
			t.Errorf("quantile %v is %v, want %v and at most 1/%d above", q, got, want, steps)
		}
	}
}

func TestQuantileOfNothing(t *testing.T) {
	if got := new(latencies).quantile(0.5); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

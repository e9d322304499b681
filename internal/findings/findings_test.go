package findings

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var then = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

func operator() Caller { return Caller{Allows: func(string) bool { return true }} }

func codes(list []Finding) string {
	var all []string
	for _, f := range list {
		all = append(all, string(f.Code))
	}
	return strings.Join(all, " ")
}

func TestTheWorstComesFirst(t *testing.T) {
	r := New(nil, func() []Finding {
		return []Finding{{Code: QueueOld, Severity: Info, Since: then}, {Code: ClientsFull, Severity: Warning, Since: then.Add(time.Hour)}}
	}, func() []Finding {
		return []Finding{{Code: DiskNearlyFull, Severity: Critical, Since: then}, {Code: ClockStep, Severity: Warning, Since: then}}
	})
	list, more := r.List(operator())
	if got := codes(list); got != "disk_nearly_full clock_step clients_full queue_old" || more != 0 {
		t.Errorf("%s and %d more", got, more)
	}
}

// TestACallerSeesWhatIsItsOwn: by scope, by the owner of a thing, and by clients.
func TestACallerSeesWhatIsItsOwn(t *testing.T) {
	r := New(nil, func() []Finding {
		return []Finding{
			{Code: StoreUnavailable, Severity: Critical, Since: then, Count: 1},
			{Code: WebhookFailing, Severity: Warning, Since: then, Count: 1, Owner: "prefix:a-"},
			{Code: ConsumerBehind, Severity: Warning, Since: then, Count: 1, Owner: "prefix:b-"},
			{Code: DevicesRefused, Severity: Warning, Since: then, Count: 3, Clients: []Client{
				{"a-1", then.Add(2 * time.Hour), then.Add(3 * time.Hour), "wrong_token"},
				{"b-1", then, then.Add(5 * time.Hour), "unknown_device"},
				{"a-2", then.Add(time.Hour), then.Add(4 * time.Hour), "expired"},
			}},
			{Code: DuplicateIDs, Severity: Warning, Since: then, Count: 1, Clients: []Client{{"b-2", then, then, ""}}},
		}
	})
	tenant := operator()
	tenant.Owner, tenant.Sees = "prefix:a-", func(id string) bool { return strings.HasPrefix(id, "a-") }
	list, _ := r.List(tenant)
	if got := codes(list); got != "webhook_failing devices_refused" {
		t.Fatalf("a tenant sees %s", got)
	}
	f := list[1]
	if f.Count != 2 || !f.Since.Equal(then.Add(time.Hour)) || f.Facts["client"] != "a-2" || f.Facts["reason"] != "expired" || !slices.Equal(f.Facts["clients"].([]string), []string{"a-2", "a-1"}) {
		t.Errorf("finding %+v, want the tenant's part of it", f)
	}
	if f.Text != "Refused devices: 2. The last one is a-2, with the reason expired." {
		t.Errorf("text %q", f.Text)
	}
	bounded := tenant
	bounded.Most = 1
	if list, _ := r.List(bounded); list[1].Count != 1 {
		t.Errorf("%d clients, want those among the first", list[1].Count)
	}
	scoped := Caller{Allows: func(scope string) bool { return scope == "events:read" }}
	if list, _ := r.List(scoped); codes(list) != "consumer_behind" {
		t.Errorf("with events:read: %s", codes(list))
	}
	if list, _ := r.List(operator()); len(list) != 5 || !slices.ContainsFunc(list, func(f Finding) bool { return f.Code == DevicesRefused && f.Count == 3 }) {
		t.Errorf("the operator sees %s", codes(list))
	}
}

// TestSourcesAreAskedOnceInAWhile: callers share the answers of five seconds.
func TestSourcesAreAskedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := New(nil, func() []Finding { asked++; return []Finding{{Code: QueueOld, Severity: Info}} })
		for range 10 {
			r.List(operator())
		}
		time.Sleep(keepFor - time.Millisecond)
		if r.List(operator()); asked != 1 {
			t.Errorf("asked %d times within five seconds, want once", asked)
		}
		time.Sleep(time.Millisecond)
		if r.List(operator()); asked != 2 {
			t.Errorf("asked %d times, want once more", asked)
		}
		if r.Refresh(); asked != 3 {
			t.Errorf("asked %d times, want once more for the owner", asked)
		}
	})
}

// A sentence has sizes that a person can read; its facts keep the bytes.
func TestASentenceHasSizesForPeople(t *testing.T) {
	f := Finding{Code: DiskNearlyFull, Facts: map[string]any{"free_bytes": int64(65507328), "total_bytes": int64(83886080), "used_bytes": int64(17 << 20)}}
	f.complete()
	if want := "62.5 MiB of 80.0 MiB are free, and the store takes 17.0 MiB."; !strings.HasSuffix(f.Text, want) || f.Facts["free_bytes"] != int64(65507328) {
		t.Errorf("%q, want %q", f.Text, want)
	}
}

// A store at data.max_disk does not say that a disk with much room is nearly full.
func TestAStoreAtItsLimitNamesTheLimit(t *testing.T) {
	f := Finding{Code: DiskNearlyFull, Facts: map[string]any{"free_bytes": int64(62 << 30), "total_bytes": int64(252 << 30), "used_bytes": int64(24 << 20), "limit_bytes": int64(24 << 20)}}
	f.complete()
	if want := "The store has little room left: it takes 24.0 MiB of 24.0 MiB (data.max_disk), and 62.0 GiB of 252.0 GiB of its disk are free."; f.Text != want {
		t.Errorf("%q, want %q", f.Text, want)
	}
}

func TestTheListIsBounded(t *testing.T) {
	r := New(nil, func() []Finding {
		return slices.Repeat([]Finding{{Code: WebhookFailing, Severity: Warning}}, maxFindings+7)
	})
	if list, more := r.List(operator()); len(list) != maxFindings || more != 7 {
		t.Errorf("%d findings and %d more", len(list), more)
	}
}

func TestASourceUsesKnownCodes(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a code without a scope and a text is taken")
		}
	}()
	r := New(nil, func() []Finding { return []Finding{{Code: "surprise"}} })
	r.List(operator())
}

// Findings of one age have one order, also if their source has none.
func TestTheOrderOfFindingsStays(t *testing.T) {
	at := time.Now()
	one := Finding{Code: CertificateExpiring, Severity: Warning, Since: at, Facts: map[string]any{"listener": "http"}}
	other := Finding{Code: CertificateExpiring, Severity: Warning, Since: at, Facts: map[string]any{"listener": "tcp"}}
	for _, all := range [][]Finding{{one, other}, {other, one}} {
		r := New(nil, func() []Finding { return all })
		list, _ := r.List(Caller{Allows: func(string) bool { return true }})
		if len(list) != 2 || list[0].Facts["listener"] != "http" {
			t.Errorf("got %+v, want http first", list)
		}
	}
}

// Many clients are a warning to the caller that sees them, and to no other one.
func TestTheSeverityIsOfTheClientsThatACallerSees(t *testing.T) {
	var all []Client
	for _, id := range []string{"a-1", "b-1", "b-2"} {
		all = append(all, Client{ID: id, Since: then, Last: then})
	}
	r := New(nil, func() []Finding {
		return []Finding{{Code: DevicesSilent, Severity: Info, Many: 3, Count: 3, Clients: all}}
	})
	few := operator()
	few.Owner, few.Sees = "prefix:a-", func(id string) bool { return strings.HasPrefix(id, "a-") }
	if list, _ := r.List(few); len(list) != 1 || list[0].Severity != Info {
		t.Errorf("a tenant with one of the clients sees %+v, want an info", list)
	}
	if list, _ := r.List(operator()); len(list) != 1 || list[0].Severity != Warning {
		t.Errorf("the operator sees %+v, want a warning", list)
	}
}

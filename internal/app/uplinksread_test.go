package app

import (
	"testing"
	"time"
)

// A backend reads also the uplinks that came since the last look.
func TestUplinksOfTheLastSecondAreRead(t *testing.T) {
	var u unreadUplinks
	nobody := func() bool { return false }
	at := time.Now()
	u.look(5, nobody, at)
	if n, since := u.count(); n != 5 || !since.Equal(at) {
		t.Errorf("%d unread since %v, want 5 since %v", n, since, at)
	}
	u.taken(6)
	u.look(6, nobody, at.Add(time.Second))
	if n, since := u.count(); n != 0 || !since.IsZero() {
		t.Errorf("%d unread since %v behind a backend that has read all", n, since)
	}
	u.look(8, nobody, at.Add(2*time.Second))
	if n, since := u.count(); n != 2 || !since.Equal(at.Add(2*time.Second)) {
		t.Errorf("%d unread since %v, want the 2 new ones", n, since)
	}
}

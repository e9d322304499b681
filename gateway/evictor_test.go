package gateway

import "testing"

// The feed begins a walk and does not wait for it. What becomes final before it begins,
// or during it, does not begin another one.
func TestEvictionsShareAWalk(t *testing.T) {
	g := newStage(&explorer{cfg: handover{window: 1}}).g
	var walks []func()
	g.evictor.start = func(walk func()) { walks = append(walks, walk) }
	for seq := range Seq(3) {
		g.settledAll(&SettledAll{Message: Message{Seq: seq + 1}, State: Expired, N: 1}, &wakes{})
	}
	if len(walks) != 1 || len(g.evictor.next) != 3 {
		t.Fatalf("%d walks for %d messages, want one for three", len(walks), len(g.evictor.next))
	}
	walks[0]()
	if g.evictor.next != nil {
		t.Errorf("%v is left", g.evictor.next)
	}
	g.evictor.add(4)
	if len(walks) != 2 {
		t.Error("no walk begins when the one before is over")
	}
}

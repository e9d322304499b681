package journal

import (
	"slices"
	"strings"
	"testing"
)

// talk is a conversation between a writer and a journal.
type talk struct {
	*testing.T
	*Writer
	pos uint64
}

const (
	testWriter = 7
	testBoot   = 70
)

func newTalk(t *testing.T) *talk { return &talk{T: t, Writer: NewWriter(testWriter, testBoot, 0)} }

// entered returns one whose opening is applied.
func entered(t *testing.T) *talk {
	c := newTalk(t)
	c.add("open")
	c.sends("open")
	c.reads(testBoot, 1, "open", Applied, Answer)
	return c
}

func (c *talk) add(records ...string) {
	for _, r := range records {
		c.Add([]byte(r))
	}
}

func (c *talk) sends(want ...string) {
	c.Helper()
	var got []string
	for _, r := range c.Send() {
		got = append(got, string(r))
	}
	if !slices.Equal(got, want) {
		c.Fatalf("sends %q, want %q", got, want)
	}
}

func (c *talk) reads(boot, n uint64, record string, v Verdict, want Todo) {
	c.Helper()
	c.pos++
	if got := c.ReadBack(Record{Pos: c.pos, Writer: testWriter, Boot: boot, N: n, Bytes: []byte(record)}, v); got != want {
		c.Fatalf("record %d of boot %d, verdict %d: todo %d, want %d", n, boot, v, got, want)
	}
}

func TestOpeningGoesAlone(t *testing.T) {
	c := newTalk(t)
	c.add("open", "two")
	c.sends("open")
	c.sends()
	c.reads(testBoot, 1, "open", Applied, Answer)
	c.sends("two")
	if c.Next() != 3 || c.UnderWay() != 1 {
		t.Errorf("next is %d with %d under way, want 3 and 1", c.Next(), c.UnderWay())
	}
}

func TestRecordsUnderWayAreBounded(t *testing.T) {
	c := entered(t)
	c.add("2", "3", "4", "5", "6")
	c.sends("2", "3", "4", "5")
	if c.Room() {
		t.Error("there is room behind four records")
	}
	c.reads(testBoot, 2, "2", Applied, Answer)
	c.sends("6")
	large := strings.Repeat("x", MaxUnderWayBytes+1)
	c = entered(t)
	c.add("2", large, "4")
	c.sends("2")
	c.reads(testBoot, 2, "2", Applied, Answer)
	c.sends(large)
	c.sends()
	c.reads(testBoot, 3, large, Applied, Answer)
	c.sends("4")
}

func TestHoleIsMendedInOrder(t *testing.T) {
	c := entered(t)
	c.add("2", "3", "4")
	c.sends("2", "3", "4")
	c.reads(testBoot, 3, "3", Hole, Resend)
	c.sends("2", "3", "4")
	c.reads(testBoot, 4, "4", Hole, Ignore) // of the same hole
	c.sends()
	c.reads(testBoot, 2, "2", Applied, Answer)
	c.reads(testBoot, 4, "4", Hole, Resend) // of the next one
	c.sends("3", "4")
	c.reads(testBoot, 2, "2", Repeat, Ignore)
	c.Again()
	c.sends("3", "4")
	c.reads(testBoot, 4, "4", Hole, Resend) // the time has sent the lost one, and it is lost again
	c.sends("3", "4")
	c.reads(testBoot, 3, "3", Applied, Answer)
	c.reads(testBoot, 4, "4", Applied, Answer)
	c.Again()
	c.sends()
}

// A late copy may be applied between the decision to send again and the sending.
func TestAppliedBeforeItIsSentAgain(t *testing.T) {
	c := entered(t)
	c.add("2", "3")
	c.sends("2", "3")
	c.Again()
	c.reads(testBoot, 2, "2", Applied, Answer)
	c.sends("3")
}

func TestOvertakenOpeningIsMadeAgain(t *testing.T) {
	c := newTalk(t)
	c.add("open after 0")
	c.sends("open after 0")
	c.reads(99, 1, "theirs", Applied, Reopen)
	c.Reopen([]byte("open after 99"))
	c.sends("open after 99")
	c.reads(testBoot, 1, "open after 0", Fenced, Ignore)
	c.reads(99, 2, "theirs", Applied, Ignore)
	c.reads(testBoot, 1, "open after 99", Applied, Answer)
	c.reads(testBoot, 1, "open after 99", Repeat, Ignore)
	c.reads(99, 3, "theirs", Fenced, Ignore)
}

func TestFencedForGood(t *testing.T) {
	for name, read := range map[string]func(*talk){
		"by the other's opening": func(c *talk) { c.reads(99, 1, "theirs", Applied, Leave) },
		"by its own record":      func(c *talk) { c.reads(testBoot, 2, "2", Fenced, Leave) },
		"by a copy's record":     func(c *talk) { c.reads(testBoot, 2, "other bytes", Applied, Leave) },
	} {
		t.Run(name, func(t *testing.T) {
			c := entered(t)
			c.add("2")
			c.sends("2")
			c.add("3")
			read(c)
			c.Again()
			c.sends()
			c.add("4")
			c.Reopen([]byte("open again"))
			c.sends()
			c.reads(testBoot, 2, "2", Applied, Ignore)
		})
	}
	c := entered(t)
	c.reads(testBoot, 2, "a record that was never made", Applied, Leave)
}

func TestOtherWritersAndOldPositionsAreIgnored(t *testing.T) {
	c := entered(t)
	c.add("2")
	c.sends("2")
	if got := c.ReadBack(Record{Pos: 2, Writer: 8, Boot: testBoot, N: 2, Bytes: []byte("2")}, Applied); got != Ignore {
		t.Errorf("another writer's record: todo %d", got)
	}
	for _, r := range []Record{{Pos: 1, Writer: testWriter, Boot: 5, N: 9}, {Pos: 2, Writer: testWriter, Boot: testBoot, N: 2}} {
		if got := c.ReadBack(r, Applied); got != Ignore {
			t.Errorf("position %d again: todo %d", r.Pos, got)
		}
	}
	c.pos = 2
	c.reads(testBoot, 2, "2", Applied, Answer)
}

func TestCopyIsIndependent(t *testing.T) {
	c := entered(t)
	c.add("2")
	twin := &talk{T: t, Writer: new(Writer), pos: c.pos}
	*twin.Writer = *c.Writer
	c.add("3")
	twin.add("other 3")
	c.sends("2", "3")
	twin.sends("2", "other 3")
}

// The opening that a state led to is not made again because the state has lost its end
// and reads the same boot once more: two openings after one boot could both be taken.
func TestPositionsBeforeTheStartAreOld(t *testing.T) {
	c := &talk{T: t, Writer: NewWriter(testWriter, testBoot, 1)}
	c.add("open after 99")
	c.reads(99, 1, "theirs", Applied, Ignore)
	c.reads(98, 1, "theirs", Applied, Reopen)
}

package cli

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":         "plain text",
		"Übergröße 长连接":      "Übergröße 长连接",
		"\x1b[2Jgone":        `\x1b[2Jgone`,
		"two\nlines\t":       `two\nlines\t`,
		"right\u202eto left": `right\u202eto left`,
		"bad \xff byte":      `bad \xff byte`,
		"\uFFFD stays":       "\uFFFD stays",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00b\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, s string) {
		if got := printable(s); strings.ContainsFunc(got, unsafeRune) {
			t.Errorf("printable(%q) = %q", s, got)
		}
	})
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	tab := &table{out: &b, heading: []string{"ID", "STATUS", "NOTE"}}
	tab.row("a", "online", "")
	tab.row("长连接", "offline", "x\ny")
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	want := "ID   STATUS   NOTE\na    online\n长连接  offline  x\\ny\n"
	if got := b.String(); got != want {
		t.Errorf("table:\n%q, want\n%q", got, want)
	}
}

// failsOnce fails its second write only, as a full disk that gets room again.
type failsOnce struct{ writes int }

func (w *failsOnce) Write(b []byte) (int, error) {
	if w.writes++; w.writes == 2 {
		return 0, errors.New("no space left")
	}
	return len(b), nil
}

// A list whose rows are not all written is an error, also if later rows are written.
func TestARowThatIsNotWrittenIsAnError(t *testing.T) {
	for name, tab := range map[string]*table{"live": {live: true}, "blocks": {}} {
		out := &failsOnce{}
		tab.out, tab.heading = out, []string{"N"}
		err := showList(&environ{out: out}, tab, make([]int, 3*tableBlock), nil, func(int) []string { return []string{"1"} })
		if err == nil || out.writes != 2 {
			t.Errorf("%s: error %v after %d writes, want the one of the second write", name, err, out.writes)
		}
	}
}

func TestTableHoldsABlockAtMost(t *testing.T) {
	var b bytes.Buffer
	tab := &table{out: &b, heading: []string{"N"}}
	for range tableBlock + 1 {
		tab.row("1")
	}
	if got, want := strings.Count(b.String(), "\n"), tableBlock+1; got != want {
		t.Errorf("%d lines are out, want the heading and a block: %d", got, want)
	}
	tab.flush()
	if got := strings.Count(b.String(), "N"); got != 1 {
		t.Errorf("%d headings, want 1", got)
	}
}

func TestColoursOnlyWhereWanted(t *testing.T) {
	if got := paint("acked", statusColour("acked"), true); got != "\x1b[32macked\x1b[0m" {
		t.Errorf("painted %q", got)
	}
	if got := paint("acked", green, false); got != "acked" {
		t.Errorf("without colours %q", got)
	}
	e := &environ{out: &bytes.Buffer{}}
	if e.coloured() {
		t.Error("colours into a buffer")
	}
}

func TestFormats(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ got, want string }{
		{ago(now.Add(-59*time.Second), now), "59s ago"},
		{ago(now.Add(-time.Minute), now), "1m ago"},
		{ago(now.Add(-47*time.Hour), now), "47h ago"},
		{ago(now.Add(-48*time.Hour), now), "2d ago"},
		{ago(now.Add(time.Second), now), "0s ago"},
		{ago(time.Time{}, now), ""},
		{clip("abc", 3), "abc"},
		{clip("äöüß", 3), "äö…"},
		{pairs(map[string]string{"b": "2", "a": "1"}), "a=1,b=2"},
		{bytesize(1023), "1023 B"},
		{bytesize(1536), "1.5 KiB"},
		{bytesize(math.MaxUint64), "16.0 EiB"},
		{thousands(999), "999"},
		{thousands(1234567), "1,234,567"},
		{brief(1234567 * time.Nanosecond), "1.23ms"},
		{brief(15 * time.Microsecond), "15µs"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestCapacity(t *testing.T) {
	devices, by := capacity([]finding{{Check: "clock"}, {Check: "files", devices: 64536}, {Check: "memory", devices: 1_987_654}})
	if devices != 64000 || by != "files" {
		t.Errorf("capacity = %d by %q, want 64000 by files", devices, by)
	}
	if devices, by := capacity(nil); devices != 0 || by != "" {
		t.Errorf("capacity of nothing = %d by %q", devices, by)
	}
}

func TestOneLine(t *testing.T) {
	if got, want := oneLine("a\n  b\x1b[0m\tc"), `a; b\x1b[0m c`; got != want {
		t.Errorf("oneLine = %q, want %q", got, want)
	}
}

package protocol

import "testing"

// A row of the table that lacks a part would be a panic in a session.
func TestEveryDialectHasItsTraits(t *testing.T) {
	for i := range dialects {
		d, row := Dialect(i), &dialects[i]
		if row.dialect != d || row.name == "" {
			t.Errorf("row %d is that of %d, named %q", i, row.dialect, row.name)
		}
		if row == unspoken {
			continue
		}
		if row.append == nil || row.parse == nil || row.check == nil || row.ackTimeout == nil {
			t.Errorf("%v: the codec or the ack timeout is incomplete", d)
		}
		if got := row.cut != nil && row.gap != nil; got != row.stopAndWait {
			t.Errorf("%v: stopAndWait is %v, but cut and gap say %v", d, row.stopAndWait, got)
		}
		if row.stopAndWait && row.window != 1 || row.window < 1 || row.window > maxWireWindow {
			t.Errorf("%v: window %d", d, row.window)
		}
		if !row.ids && !row.stopAndWait {
			t.Errorf("%v: acks without a number are counted by stopAndWait alone", d)
		}
		if row.repeatsRegister && !row.stopAndWait {
			t.Errorf("%v: REGISTER is repeated by stopAndWait alone", d)
		}
		if parsed, ok := ParseDialect(row.name); !ok || parsed != d {
			t.Errorf("ParseDialect(%q) = %v, %v, want %v", row.name, parsed, ok, d)
		}
	}
	if d, ok := ParseDialect(unspoken.name); ok {
		t.Errorf("ParseDialect(%q) = %v, want none", unspoken.name, d)
	}
	if got := Dialect(len(dialects)).String(); got != "unknown" {
		t.Errorf("a dialect beyond the table is called %q, want unknown", got)
	}
}

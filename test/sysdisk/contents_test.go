//go:build linux

package sysdisk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// contents is what a store holds, each thing with all that must not change. What
// is queued may expire while a test runs, so that queued and expired are one.
type contents map[string]string

func contentsOf(c *caller) (contents, error) {
	all := contents{}
	var ids []string
	err := c.pages("/v1/messages?", func(m answer) { ids = append(ids, m.ID) })
	for _, id := range ids {
		if err != nil {
			return nil, err
		}
		var m answer
		if m, err = c.call("GET", "/v1/messages/"+id, "", ""); err != nil || m.code != 200 {
			return nil, fmt.Errorf("GET of %s answers %d, %w", id, m.code, err)
		}
		all["message "+id] = m.lasting() + " " + text(m.Text)
		if m.Client == "" {
			err = c.pages("/v1/messages/"+id+"/deliveries?", func(d answer) { all["delivery of "+id+" to "+d.Client] = d.lasting() })
		}
	}
	if err == nil {
		err = c.pages("/v1/uplinks?", func(u answer) {
			all[fmt.Sprint("uplink ", u.Seq)] = fmt.Sprint(u.Client, " ", u.Number, " ", text(u.Text))
		})
	}
	if err == nil {
		err = c.pages("/v1/clients?status=all&", func(a answer) { all["client "+a.ID] = fmt.Sprint(a.Labels) })
	}
	return all, err
}

// lasting describes a message or a delivery.
func (a answer) lasting() string {
	switch a.Status {
	case "queued", "expired":
		return "open for " + a.Client
	case "pending", "completed": // to many
		return fmt.Sprint("to ", a.Counts["total"], ", acked ", a.Counts["acked"], ", rejected ", a.Counts["rejected"])
	}
	return fmt.Sprint(a.Status, " for ", a.Client, " at ", a.FinalAt, " ", a.Reason, " ", text(a.Result))
}

// in returns what is missing in other or reads differently there.
func (all contents) in(other contents) (broken []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if got, ok := other[name]; !ok || got != all[name] {
			broken = append(broken, fmt.Sprintf("%s is there: %t, %q, want %q", name, ok, got, all[name]))
		}
	}
	return broken
}

// count counts the things whose names begin with a word.
func (all contents) count(word string) (n int) {
	for name := range all {
		if strings.HasPrefix(name, word+" ") {
			n++
		}
	}
	return n
}

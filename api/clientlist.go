package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// ClientPage is one page of clients.
type ClientPage struct {
	Items      []Client `json:"items" validate:"required"`                  // of this page
	NextCursor string   `json:"next_cursor,omitempty"`                      // the cursor of the next page; absent on the last one
	PrevCursor string   `json:"prev_cursor,omitempty"`                      // the cursor of the page before; absent on the first one. That page may be empty
	Now        string   `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name ClientPage

// clientMembers are the members of Client, for ?fields=.
var clientMembers = membersOf[Client]()

// listClients lists clients.
//
//	@ID				listClients
//	@Summary		List clients
//	@Description	In id order. Without `status` these are the clients that are online; with `id` all that are named and known.
//	@Description	A page may be shorter than `limit` and still have a `next_cursor`, when a filter passed over many.
//	@Description	`from` jumps to an id, known or not. `next_cursor` goes on in the order and `prev_cursor` back: the page before has its clients in the same order.
//	@Tags			clients
//	@Produce		json
//	@Param			status				query		string		false	"presence, or those that a block keeps away; suspect clients are online, too"	Enums(online, suspect, offline, all, blocked)	default(online)
//	@Param			prefix				query		string		false	"ids that begin with this"
//	@Param			id					query		[]string	false	"these ids only, at most 100"	collectionFormat(multi)
//	@Param			group				query		string		false	"members of this group"
//	@Param			label				query		[]string	false	"clients that have this label, as name=value; repeat for more"	collectionFormat(multi)
//	@Param			queued_gt			query		int			false	"more deliveries queued than this"								minimum(0)
//	@Param			queued_older_than	query		string		false	"with a delivery that has been queued for longer than this, such as 10m"
//	@Param			ip					query		string		false	"connected from this address, or from this network such as 203.0.113.0/24"
//	@Param			dialect				query		string		false	"connected with this dialect"	Enums(v1, v2, text)
//	@Param			since				query		string		false	"online clients that connected, and offline ones that were last seen, at this time or later, or so long ago at most, such as 10m"
//	@Param			from				query		string		false	"begin with this id, or the next one in the order; without effect with cursor"
//	@Param			order				query		string		false	"of ids"	Enums(asc, desc)	default(asc)
//	@Param			fields				query		string		false	"members to show, by comma; id is always shown, others are left out, required ones too"
//	@Param			limit				query		int			false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor				query		string		false	"next_cursor or prev_cursor of another page"
//	@Success		200					{object}	ClientPage
//	@x-scope		"clients:read"
//	@Router			/v1/clients [get]
func (s *server) listClients(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	ids := q.all("id")
	standard := "online"
	if len(ids) > 0 {
		standard = "all"
	}
	sel := gateway.ClientSelection{Status: presence[q.oneOf("status", standard, "online", "suspect", "offline", "all", "blocked")]}
	sel.Prefix, sel.Group = q.prefix("prefix"), q.group("group")
	sel.Labels = q.labels()
	sel.QueuedGT = q.integer("queued_gt", -1, 0, 1<<30)
	sel.Limit = q.limit()
	q.connection(&sel, s.cfg.Now())
	start := q.clientPlace(cursorsOf(w))
	start.apply(&sel)
	fields := q.fields(clientMembers)
	if len(ids) > 0 {
		q.onlyIDs(ids, &sel)
	}
	if err := q.done(); err != nil {
		return err
	}
	page, err := selectClients(viewOf(w), ids, sel, s.cfg.Now())
	if err != nil {
		return err
	}
	before, after := start.neighbours(&page)
	out := ClientPage{Items: make([]Client, len(page.Items)), NextCursor: after.encode(cursorsOf(w)), PrevCursor: before.encode(cursorsOf(w)), Now: s.now()}
	for i := range page.Items {
		out.Items[i] = s.clientView(&page.Items[i])
	}
	linkPages(w, r, out.NextCursor, out.PrevCursor)
	if fields == nil {
		return writeJSON(w, http.StatusOK, out)
	}
	return writeJSON(w, http.StatusOK, struct {
		Items []narrowed[Client] `json:"items"` // hides that of the page
		ClientPage
	}{narrowAll(out.Items, fields), out})
}

// onlyIDs checks a look-up by id. Status is the only filter that may narrow it.
func (q *query) onlyIDs(ids []string, sel *gateway.ClientSelection) {
	if len(ids) > maxIDs {
		q.fail("id", "is given more than %d times", maxIDs)
	}
	for _, id := range ids {
		if !validClient(id) {
			q.fail("id", "is "+gateway.NotClientID)
		}
	}
	if sel.Prefix != "" || sel.Group != "" || sel.Labels != nil || sel.QueuedGT >= 0 || sel.After != "" || sel.From != "" || sel.Descending ||
		sel.Addr.IsValid() || sel.Dialect != "" || !sel.Since.IsZero() || !sel.QueuedBefore.IsZero() {
		q.fail("id", "goes with status, fields and limit only")
	}
}

func selectClients(v *tenant.View, ids []string, sel gateway.ClientSelection, now time.Time) (gateway.Page[gateway.Client, gateway.ClientID], error) {
	if len(ids) == 0 {
		return v.Clients(sel)
	}
	var page gateway.Page[gateway.Client, gateway.ClientID]
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		c, err := v.Client(gateway.ClientID(id))
		switch {
		case gateway.CodeOf(err) == gateway.CodeClientNotFound:
		case err != nil:
			return page, err
		case sel.Status.Includes(&c, now):
			page.Items = append(page.Items, c)
		}
	}
	page.Items = page.Items[:min(len(page.Items), sel.Limit)]
	return page, nil
}

// labels takes every label=name=value.
func (q *query) labels() map[string]string {
	var labels map[string]string
	for _, l := range q.all("label") {
		name, value, ok := strings.Cut(l, "=")
		if !ok || !gateway.ValidLabelKey(name) {
			q.fail("label", "must be name=value, as in label=site=north")
			continue
		}
		if labels == nil {
			labels = make(map[string]string)
		}
		if was, twice := labels[name]; twice && was != value {
			q.fail("label", "asks for two values of one label")
		}
		labels[name] = value
	}
	if len(labels) > gateway.MaxLabels {
		q.fail("label", "is given more than %d times", gateway.MaxLabels)
	}
	return labels
}

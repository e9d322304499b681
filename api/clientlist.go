package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// ClientPage is one page of clients.
type ClientPage struct {
	Items      []Client `json:"items" validate:"required"` // of this page
	NextCursor string   `json:"next_cursor,omitempty"`     // the cursor of the next page; absent on the last one
} //@name ClientPage

// listClients lists clients.
//
//	@ID				listClients
//	@Summary		List clients
//	@Description	In id order. Without `status` these are the clients that are online; with `id` all that are named and known.
//	@Description	A page may be shorter than `limit` and still have a `next_cursor`, when a filter passed over many.
//	@Tags			clients
//	@Produce		json
//	@Param			status		query		string		false	"presence, or those that a block keeps away; suspect clients are online, too"	Enums(online, suspect, offline, all, blocked)	default(online)
//	@Param			prefix		query		string		false	"ids that begin with this"
//	@Param			id			query		[]string	false	"these ids only, at most 100"	collectionFormat(multi)
//	@Param			group		query		string		false	"members of this group"
//	@Param			label		query		[]string	false	"clients that have this label, as name=value; repeat for more"	collectionFormat(multi)
//	@Param			queued_gt	query		int			false	"more deliveries queued than this"								minimum(0)
//	@Param			fields		query		string		false	"members to show, by comma; id is always shown, others are left out, required ones too"
//	@Param			limit		query		int			false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor		query		string		false	"next_cursor of the page before"
//	@Success		200			{object}	ClientPage
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
	sel.Prefix, sel.Group = q.one("prefix"), q.one("group")
	sel.Labels = q.labels()
	sel.QueuedGT = q.integer("queued_gt", -1, 0, 1<<30)
	sel.Limit = q.limit()
	sel.After = gateway.ClientID(q.cursor(cursorsOf(w), cursorClients, validClient))
	fields := q.clientFields()
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
	next := ""
	if page.More {
		next = cursorsOf(w).encode(cursorClients, string(page.Next))
	}
	linkNext(w, r, next)
	return writeJSON(w, http.StatusOK, s.clientPage(page.Items, fields, next))
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
	if sel.Prefix != "" || sel.Group != "" || sel.Labels != nil || sel.QueuedGT >= 0 || sel.After != "" {
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
		if !ok || !validLabelKey(name) {
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

// clientFields takes the indexes of the members to show; nil = all.
func (q *query) clientFields() []int {
	v := q.one("fields")
	if v == "" {
		return nil
	}
	fields := []int{0} // id
	for name := range strings.SplitSeq(v, ",") {
		i := slices.Index(clientFieldNames, name)
		if i < 0 {
			q.fail("fields", "has no member %q", name)
		} else if !slices.Contains(fields, i) {
			fields = append(fields, i)
		}
	}
	slices.Sort(fields)
	return fields
}

func (s *server) clientPage(clients []gateway.Client, fields []int, next string) any {
	if fields == nil {
		page := ClientPage{Items: make([]Client, len(clients)), NextCursor: next}
		for i := range clients {
			page.Items[i] = s.clientView(&clients[i])
		}
		return page
	}
	page := struct {
		Items      []narrowClient `json:"items"`
		NextCursor string         `json:"next_cursor,omitempty"`
	}{make([]narrowClient, len(clients)), next}
	for i := range clients {
		page.Items[i] = narrowClient{s.clientView(&clients[i]), fields}
	}
	return page
}

// narrowClient shows some members of a client.
type narrowClient struct {
	client Client
	fields []int
}

func (n narrowClient) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	v := reflect.ValueOf(n.client)
	for i, field := range n.fields {
		if i == 0 {
			b.WriteByte('{')
		} else if v.Field(field).IsZero() && strings.Contains(v.Type().Field(field).Tag.Get("json"), ",omitempty") {
			continue
		} else {
			b.WriteByte(',')
		}
		value, err := json.Marshal(v.Field(field).Interface())
		if err != nil {
			return nil, err
		}
		b.WriteString(`"` + clientFieldNames[field] + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

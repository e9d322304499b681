package api

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// Client is a registered device or program. Members that need a connection are
// absent while it is offline. ?fields= selects the members that are shown.
type Client struct {
	ID           string            `json:"id" validate:"required" example:"truck-17"`                                    // the name that it registers with
	Online       bool              `json:"online" validate:"required"`                                                   // connected now; a suspect client is
	Presence     string            `json:"presence" validate:"required" enums:"online,suspect,offline"`                  // suspect: connected, but it has not answered a heartbeat for a second
	Confirmed    *bool             `json:"confirmed,omitempty"`                                                          // while online: silence for heartbeat and grace would have ended the connection. False for a text client that has answered no PING in time: it may have been gone for a minute
	ConnectedAt  string            `json:"connected_at,omitempty" format:"date-time" example:"2026-11-22T08:00:00.000Z"` // start of the connection
	LastSeenAt   string            `json:"last_seen_at,omitempty" format:"date-time" example:"2026-11-22T08:31:04.120Z"` // when the last byte came from it
	CreatedAt    string            `json:"created_at,omitempty" format:"date-time" example:"2026-10-01T12:00:00.000Z"`   // when it was first known
	RemoteAddr   string            `json:"remote_addr,omitempty" example:"203.0.113.9:51544"`                            // the address of its end of the connection
	Dialect      string            `json:"dialect,omitempty" enums:"v1,v2,text"`                                         // of the device protocol
	Transport    string            `json:"transport,omitempty" enums:"tcp,tls"`                                          // of its connection
	RTTMs        float64           `json:"rtt_ms,omitempty" example:"0.412"`                                             // the last round trip that was measured, in milliseconds
	Session      string            `json:"session,omitempty" example:"ses_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`         // of its connection
	Groups       []string          `json:"groups" validate:"required" example:"fleet-a"`                                 // that it is a member of
	Labels       map[string]string `json:"labels" validate:"required"`                                                   // that a PATCH has set
	Reported     map[string]string `json:"reported,omitempty"`                                                           // labels of its last registration; audiences and filters ignore them
	Queued       int               `json:"queued" validate:"required"`                                                   // deliveries that are not final
	QueuedBytes  int64             `json:"queued_bytes" validate:"required"`                                             // payload bytes of the queued deliveries; messages to many are not counted
	InFlight     int               `json:"in_flight" validate:"required"`                                                // deliveries that it has not answered on this connection
	MessagesIn   uint64            `json:"messages_in,omitempty"`                                                        // messages from it on this connection
	MessagesOut  uint64            `json:"messages_out,omitempty"`                                                       // messages to it on this connection
	BytesIn      uint64            `json:"bytes_in,omitempty"`                                                           // bytes from it on this connection
	BytesOut     uint64            `json:"bytes_out,omitempty"`                                                          // bytes to it on this connection
	LastClose    *LastClose        `json:"last_close,omitempty"`                                                         // how its last connection ended; absent while it is online
	BlockedUntil string            `json:"blocked_until,omitempty" format:"date-time"`                                   // it may not register before
} //@name ClientInfo

// LastClose has the reason why a client's last connection ended and the side that ended it.
// Absent while the client is connected.
type LastClose struct {
	Reason string `json:"reason" validate:"required" example:"heartbeat_timeout"` // why it ended
	By     string `json:"by" validate:"required" example:"gateway"`               // which side ended it
} //@name LastClose

// ClientPatch is a JSON merge patch (RFC 7396): a label that is null is
// removed, groups are replaced as a whole.
type ClientPatch struct {
	Labels map[string]*string `json:"labels,omitempty" validate:"omitempty,max=32,dive,keys,labelkey,endkeys,omitempty,bytes=256,max=256" swaggertype:"object,string"` // to set, or with null to remove
	Groups *[]string          `json:"groups,omitempty" validate:"omitempty,max=32,dive,group" swaggertype:"array,string"`                                              // that replace all it has
} //@name ClientPatch

// ClientCreate asks for a client that has not registered yet.
type ClientCreate struct {
	ID     string            `json:"id" validate:"required,clientid" example:"truck-17"`                                        // the name that it will register with
	Labels map[string]string `json:"labels,omitempty" validate:"omitempty,max=32,dive,keys,labelkey,endkeys,bytes=256,max=256"` // of it, until it registers with others
	Groups *[]string         `json:"groups,omitempty" validate:"omitempty,max=32,dive,group" swaggertype:"array,string"`        // that it enters
} //@name ClientCreate

func (s *server) clientView(c *gateway.Client) Client {
	v := Client{
		ID: string(c.ID), Online: c.Online, Presence: c.Presence().String(), ConnectedAt: stamp(c.ConnectedAt), LastSeenAt: stamp(c.LastSeenAt),
		CreatedAt: stamp(c.CreatedAt), Session: string(c.Session), Groups: c.Groups, Labels: c.Labels, Reported: c.Reported,
		Queued: c.Queued, QueuedBytes: c.QueuedBytes, InFlight: c.InFlight,
	}
	if v.Groups == nil {
		v.Groups = []string{}
	}
	if c.LastClose != "" {
		v.LastClose = &LastClose{Reason: c.LastClose, By: string(gateway.CloserOf(c.LastClose))}
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if c.BlockedUntil.After(s.cfg.Now()) {
		v.BlockedUntil = stamp(c.BlockedUntil)
	}
	if !c.Online {
		return v
	}
	l := &c.Link
	if l.RemoteAddr.IsValid() {
		v.RemoteAddr = l.RemoteAddr.String()
	}
	v.Dialect, v.Transport, v.RTTMs = l.Dialect, l.Transport, milliseconds(l.RTT)
	v.Confirmed = &l.Confirmed
	v.MessagesIn, v.MessagesOut, v.BytesIn, v.BytesOut = l.MessagesIn, l.MessagesOut, l.BytesIn, l.BytesOut
	return v
}

// maxIDs bounds the id parameters of one list call.
const maxIDs = 100

var presence = map[string]gateway.ClientStatus{
	"online": gateway.StatusOnline, "offline": gateway.StatusOffline, "all": gateway.StatusAll, "blocked": gateway.StatusBlocked,
	"suspect": gateway.StatusSuspect,
}

// getClient shows one client.
//
//	@ID				getClient
//	@Summary		Get one client
//	@Description	A client is known from its creation or its first registration until it has not been seen for a long time.
//	@Tags			clients
//	@Produce		json
//	@Param			id		path		string	true	"client id"
//	@Success		200		{object}	Client
//	@x-scope		"clients:read"
//	@Router			/v1/clients/{id} [get]
func (s *server) getClient(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	c, err := viewOf(w).Client(id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.clientView(&c))
}

// headClient reports by its status whether a client is known.
//
//	@Summary	Is the client known
//	@ID			headClient
//	@Tags		clients
//	@Param		id		path	string	true	"client id"
//	@Success	200		"known"
//	@x-scope	"clients:read"
//	@Router		/v1/clients/{id} [head]
func (s *server) headClient(w http.ResponseWriter, r *http.Request) error { return s.getClient(w, r) }

// createClient adds a client before its first contact.
//
//	@ID				createClient
//	@Summary		Create a client before its first contact
//	@Description	It is offline, is a member of its groups, and messages are queued for its first connection. When it registers with labels, these replace those given here.
//	@Description	A key that is limited to a prefix creates ids with this prefix only. A client that a key limited to a group creates is in this group alone.
//	@Tags			clients
//	@Accept			json
//	@Produce		json
//	@Param			client	body		ClientCreate	true	"the client to create"
//	@Success		201		{object}	Client
//	@Header			201		{string}	Location	"the client"
//	@x-scope		"clients:write"
//	@Router			/v1/clients [post]
func (s *server) createClient(w http.ResponseWriter, r *http.Request) error {
	var body ClientCreate
	if err := s.bodyOf(w, r, `{"id":"truck-17","groups":["fleet-a"]}`, &body); err != nil {
		return err
	}
	change := gateway.ClientChange{Groups: body.Groups, Labels: make(map[string]*string, len(body.Labels))}
	for name, value := range body.Labels {
		change.Labels[name] = &value
	}
	c, err := viewOf(w).CreateClient(gateway.ClientID(body.ID), change)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/clients/"+url.PathEscape(body.ID))
	return writeJSON(w, http.StatusCreated, s.clientView(&c))
}

// patchClient changes labels and groups.
//
//	@ID				patchClient
//	@Summary		Change a client's labels and groups
//	@Description	JSON merge patch: a label set to null is removed, `"labels": null` removes all; groups are replaced as a whole.
//	@Tags			clients
//	@Accept			json,application/merge-patch+json
//	@Produce		json
//	@Param			id			path		string		true	"client id"
//	@Param			patch		body		ClientPatch	true	"the changes"
//	@Success		200			{object}	Client
//	@x-scope		"clients:write"
//	@Router			/v1/clients/{id} [patch]
func (s *server) patchClient(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	var patch ClientPatch
	nulls, err := s.patchOf(w, r, &patch)
	if err != nil {
		return err
	}
	change, err := clientChange(viewOf(w), id, &patch, nulls)
	if err != nil {
		return err
	}
	c, err := viewOf(w).UpdateClient(id, change)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.clientView(&c))
}

// clientChange turns the patch into a change. A member of nulls removes everything.
func clientChange(v *tenant.View, id gateway.ClientID, patch *ClientPatch, nulls []string) (gateway.ClientChange, error) {
	change := gateway.ClientChange{Labels: patch.Labels, Groups: patch.Groups}
	if slices.Contains(nulls, "groups") {
		change.Groups = &[]string{}
	}
	if slices.Contains(nulls, "labels") {
		c, err := v.Client(id)
		if err != nil {
			return change, err
		}
		change.Labels = make(map[string]*string, len(c.Labels))
		for name := range c.Labels {
			change.Labels[name] = nil
		}
	}
	return change, nil
}

// maxBlock bounds ?block=.
const maxBlock = 365 * 24 * time.Hour

// disconnectClient ends a client's connection.
//
//	@ID				disconnectClient
//	@Summary		Disconnect a client
//	@Description	Its queue is kept and delivered when it connects again, unless `purge` cancels the queued deliveries. `block` refuses its registration for that time.
//	@Description	`block=0` lifts a block and disconnects no client.
//	@Description	`forget` removes the client: its connection ends, its queued deliveries are canceled with the reason `client_forgotten`, and its record goes with labels, groups and block. Its uplinks and the status of its messages stay for their time. When it registers again it is a new client.
//	@Tags			clients
//	@Produce		json
//	@Param			id		path	string	true	"client id"
//	@Param			purge	query	bool	false	"cancel the queued deliveries"
//	@Param			block	query	string	false	"refuse its return for this long, 1s to 365d, such as 10m; 0 lifts a block"
//	@Param			forget	query	bool	false	"remove the client with all that is queued for it; takes messages:write, too"
//	@Success		204
//	@x-scope		"clients:write"
//	@Router			/v1/clients/{id} [delete]
func (s *server) disconnectClient(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	forget := q.flag("forget")
	o := gateway.DisconnectOptions{Purge: q.flag("purge")}
	block, given := q.duration("block", 0, maxBlock)
	o.Block = block
	lifts := given && block == 0
	if given && !lifts && block < time.Second {
		q.fail("block", "must be a duration from 1s to %s, or 0 to lift a block", maxBlock)
	}
	if lifts && o.Purge {
		q.fail("purge", "not allowed with block=0, which only lifts a block")
	}
	if forget && (given || o.Purge) {
		q.fail("forget", "goes with neither purge nor block: the queue is canceled and the record removed")
	}
	if err := q.done(); err != nil {
		return err
	}
	if o.Purge || forget { // cancels messages, so it takes the right to
		if err := guard.Need(viewOf(w).Key(), apikey.MessagesWrite); err != nil {
			return err
		}
	}
	switch {
	case forget:
		err = viewOf(w).Forget(id)
	case lifts:
		err = viewOf(w).Unblock(id)
	default:
		err = viewOf(w).Disconnect(id, o)
	}
	return noContent(w, err)
}

// ForgetResult is the result of forgetting a selection of clients.
type ForgetResult struct {
	Forgotten int  `json:"forgotten" validate:"required" example:"37"` // clients that were removed
	Canceled  int  `json:"canceled" validate:"required" example:"4"`   // their queued deliveries, which are canceled
	More      bool `json:"more" validate:"required"`                   // the selection has more clients: repeat the call
} //@name ForgetResult

// forgetClients removes the clients of a selection.
//
//	@ID				forgetClients
//	@Summary		Forget many clients
//	@Description	As `DELETE /v1/clients/{id}?forget=true` for the clients that the filters select, at most 1000 in one call. At least one filter is needed.
//	@Description	`confirm` is how many clients that are: without it, or with another number, no client is forgotten and the problem says the number.
//	@Tags			clients
//	@Produce		json
//	@Param			forget		query		bool		true	"true: the call does nothing else"
//	@Param			confirm		query		int			false	"number of clients that the filters select, at most 1000"	minimum(0)	maximum(1000)
//	@Param			status		query		string		false	"presence, or those that a block keeps away"	Enums(online, offline, all, blocked)	default(all)
//	@Param			prefix		query		string		false	"ids that begin with this"
//	@Param			group		query		string		false	"members of this group"
//	@Param			label		query		[]string	false	"clients that have this label, as name=value; repeat for more"	collectionFormat(multi)
//	@Param			queued_gt	query		int			false	"more deliveries queued than this"								minimum(0)
//	@Success		200			{object}	ForgetResult
//	@x-scope		"clients:write"
//	@Router			/v1/clients [delete]
func (s *server) forgetClients(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	if !q.flag("forget") {
		q.fail("forget", "must be true")
	}
	confirm := q.integer("confirm", -1, 0, tenant.MaxForgotten)
	filters := len(q.values)
	sel := gateway.ClientSelection{Status: presence[q.oneOf("status", "all", "online", "offline", "all", "blocked")]}
	sel.Prefix, sel.Group = q.prefix("prefix"), q.group("group")
	sel.Labels = q.labels()
	sel.QueuedGT = q.integer("queued_gt", -1, 0, 1<<30)
	if filters == 0 {
		q.fail("status", "or another filter is needed: status=all selects every client")
	}
	if err := q.done(); err != nil {
		return err
	}
	v := viewOf(w)
	if confirm > 0 { // cancels messages
		if err := guard.Need(v.Key(), apikey.MessagesWrite); err != nil {
			return err
		}
	}
	done, found, ok, err := v.ForgetAll(sel, confirm)
	if err != nil {
		return err
	}
	if !ok {
		return problem.BadParameter("confirm", "must be %d, the number of clients that the filters select (at most %d in one call)", found, tenant.MaxForgotten)
	}
	return writeJSON(w, http.StatusOK, ForgetResult{Forgotten: done.Clients, Canceled: done.Canceled, More: done.More})
}

package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// Values of Options.
const (
	modeDurable  = "durable"
	modeOnline   = "online"
	unknownFail  = "fail"
	unknownQueue = "queue"
)

// Content is the payload of a push: exactly one of text, json and base64. The
// device gets plain bytes; json in its compact form, on one line.
type Content struct {
	Text   *string         `json:"text,omitempty" example:"hello"`      // a payload of text
	JSON   json.RawMessage `json:"json,omitempty" swaggertype:"object"` // a payload of JSON; the device gets it in its compact form
	Base64 *string         `json:"base64,omitempty" format:"byte"`      // a payload of any bytes
}

// Options are the options of a push. Without a mode it is durable.
type Options struct {
	Mode      string            `json:"mode,omitempty" validate:"omitempty,oneof=durable online" enums:"durable,online"` // durable (default): stored, and delivered until the ttl ends; online: now or never
	TTL       string            `json:"ttl,omitempty" validate:"omitempty,ttl" example:"24h"`                            // it is never delivered after this long, 1s to 30d; 24h unless given
	OnUnknown string            `json:"on_unknown,omitempty" validate:"omitempty,oneof=fail queue" enums:"fail,queue"`   // treatment of a client that was never seen: fail (default), or queue for its first connection
	Metadata  map[string]string `json:"metadata,omitempty" validate:"max=16,dive,keys,min=1,max=64,endkeys,max=512"`     // the caller's own notes: kept with the message, not sent to the device
}

// PushOne is a push to the client in the path.
type PushOne struct {
	Content
	Options
} //@name PushOne

// PushMany is a push to an audience.
type PushMany struct {
	To *Audience `json:"to" validate:"required"` // the audience
	Content
	Options
	// OnlineOnly narrows a group, labels or all to the clients that are connected.
	OnlineOnly bool `json:"online_only,omitempty"`
	// Rate is the number of connected clients to which delivery begins in a second,
	// so that not all devices answer a message to many at once. Without it there is
	// no such limit.
	Rate int `json:"rate,omitempty" minimum:"1" maximum:"100000" example:"500"`
} //@name PushMany

// Audience selects the clients that get a message. It has exactly one member.
type Audience struct {
	Client  string            `json:"client,omitempty" validate:"omitempty,clientid" example:"truck-17"`                     // one client
	Clients []string          `json:"clients,omitempty" validate:"omitempty,min=1,max=1000,dive,clientid"`                   // these clients
	Group   string            `json:"group,omitempty" validate:"omitempty,group"`                                            // the members of this group
	Labels  map[string]string `json:"labels,omitempty" validate:"omitempty,min=1,max=32,dive,keys,labelkey,endkeys,max=256"` // the clients with all these labels
	All     bool              `json:"all,omitempty"`                                                                         // every client that has ever registered
} //@name Audience

// push is a decoded request for one message, and how long its caller waits.
type push struct {
	gateway.PushRequest
	online bool
	wait   waiting
}

// payload returns the plain bytes of c. Validation has checked that c has exactly one
// payload.
func (c *Content) payload() ([]byte, gateway.Encoding, error) {
	switch {
	case c.Text != nil:
		return []byte(*c.Text), gateway.EncodingText, nil
	case c.JSON != nil:
		var b bytes.Buffer
		b.Grow(len(c.JSON))
		if err := json.Compact(&b, c.JSON); err != nil {
			return nil, 0, problem(malformedJSON, "/json is not valid JSON")
		}
		return b.Bytes(), gateway.EncodingJSON, nil
	}
	raw, err := base64.StdEncoding.DecodeString(*c.Base64)
	if err != nil {
		return nil, 0, invalidBody("/base64", "is not standard base64 with padding")
	}
	return raw, gateway.EncodingBinary, nil
}

// set takes the content and the options of a decoded body.
func (p *push) set(c *Content, o *Options) error {
	payload, encoding, err := c.payload()
	if err != nil {
		return err
	}
	if len(payload) > gateway.MaxPayload {
		return tooLarge(gateway.MaxPayload, "the payload")
	}
	p.Payload, p.Encoding = payload, encoding
	p.options(o)
	return nil
}

// options takes validated options.
func (p *push) options(o *Options) {
	p.online = o.Mode == modeOnline
	p.QueueUnknown = o.OnUnknown == unknownQueue
	p.Metadata = o.Metadata
	if o.TTL != "" {
		p.TTL, _ = parseDuration(o.TTL) // validated
	}
}

func (a *Audience) audience() gateway.Audience {
	to := gateway.Audience{Client: gateway.ClientID(a.Client), Group: a.Group, Labels: a.Labels, All: a.All}
	if len(a.Clients) > 0 {
		to.Clients = make([]gateway.ClientID, len(a.Clients))
		for i, id := range a.Clients {
			to.Clients[i] = gateway.ClientID(id)
		}
	}
	return to
}

// queryOptions takes the options of the query, for callers whose body is the payload
// itself.
func queryOptions(q *query) Options {
	o := Options{
		Mode:      q.oneOf("mode", "", modeDurable, modeOnline),
		OnUnknown: q.oneOf("on_unknown", "", unknownFail, unknownQueue),
		Metadata:  q.prefixed("metadata."),
	}
	if o.TTL = q.one("ttl"); o.TTL != "" {
		if d, err := parseDuration(o.TTL); err != nil || d < gateway.MinTTL || d > gateway.MaxTTL {
			q.fail("ttl", "must be a duration from 1s to 30d")
		}
	}
	if len(o.Metadata) > gateway.MaxMetadata {
		q.fail("metadata", "has more than %d entries", gateway.MaxMetadata)
	}
	for name, value := range o.Metadata {
		if name == "" || len(name) > gateway.MaxMetadataKey || len(value) > gateway.MaxMetadataVal {
			q.fail("metadata."+name, "must have a name of 1 to %d bytes and at most %d bytes", gateway.MaxMetadataKey, gateway.MaxMetadataVal)
		}
	}
	return o
}

func (o *Options) none() bool {
	return o.Mode == "" && o.TTL == "" && o.OnUnknown == "" && o.Metadata == nil
}

// merge adds the query's options to the options of a body. It refuses an option that
// is in both places, because the caller can mean only one.
func (o *Options) merge(query *Options) error {
	for _, pair := range []struct {
		name string
		body *string
		more string
	}{{"mode", &o.Mode, query.Mode}, {"ttl", &o.TTL, query.TTL}, {"on_unknown", &o.OnUnknown, query.OnUnknown}} {
		switch {
		case pair.more == "":
		case *pair.body != "":
			return badParameter(pair.name, "is given in the body too")
		default:
			*pair.body = pair.more
		}
	}
	if query.Metadata != nil && o.Metadata != nil {
		return badParameter("metadata", "is given in the body too")
	}
	if query.Metadata != nil {
		o.Metadata = query.Metadata
	}
	return nil
}

// pushOne pushes to one client.
//
//	@ID				pushOne
//	@Summary		Push a message to one client
//	@Description	**mode=durable** (default): 202 means that the message is on disk; it is delivered when the client is online, until its ttl ends. With `wait` the answer is 200 with the final state when that comes in time.
//	@Description	**mode=online**: now or never. 200 with the device's answer, 409 when it is offline, 504 when it does not ack within `wait` (default 10s). Nothing is stored.
//	@Description
//	@Description	The body is a JSON envelope, or with any other content type the payload itself, with the options in the query (`metadata.order=4711` sets metadata).
//	@Description	To see an ack without a device at hand, run `longwire connect --id demo` in a terminal and push to `demo`.
//	@Tags			messages
//	@Accept			json,text/plain,application/octet-stream
//	@Produce		json
//	@Param			id				path		string		true	"client id"	example(demo)
//	@Param			push			body		PushOne		true	"the push"
//	@Param			mode			query		string		false	"durable or online"						Enums(durable, online)
//	@Param			wait			query		string		false	"wait for the final state, at most 60s"	example(5s)
//	@Param			ttl				query		string		false	"never deliver after this long, 1s to 30d, such as 24h"
//	@Param			on_unknown		query		string		false	"for a client that was never seen: fail, or queue the message for its first connection"	Enums(fail, queue)
//	@Param			Prefer			header		string		false	"wait=5 is the same as ?wait=5s"
//	@Param			Idempotency-Key	header		string		false	"repeats of the same push within 24 h get the first one's message; 1 to 255 characters of printable ASCII"
//	@Success		200				{object}	Message		"final"
//	@Success		202				{object}	Message		"accepted: on disk"
//	@Header			200,202			{string}	Location	"the message"
//	@x-scope		"messages:write"
//	@Router			/v1/clients/{id}/messages [post]
func (s *server) pushOne(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	wait := s.waitOf(q, r)
	options := queryOptions(q)
	if err := q.done(); err != nil {
		return err
	}
	p := push{wait: wait}
	if mediaType(r) == "application/json" {
		err = s.withBody(w, r, func(data []byte) error { return p.readOne(data, &options) })
	} else {
		err = s.raw(w, r, &p, &options)
	}
	if err != nil {
		return err
	}
	p.To.Client = id
	return s.push(w, r, &p)
}

// readOne decodes a PushOne and adds the options of the query.
func (p *push) readOne(data []byte, query *Options) error {
	allowed := membersOne
	if !query.none() {
		allowed = memberContent
	}
	if _, ok := p.readEnvelope(data, allowed); ok {
		if !query.none() {
			p.options(query)
		}
		return nil
	}
	var body PushOne
	if err := decodeObject(data, &body); err != nil {
		return sayEnvelope(err, data)
	}
	if err := body.Options.merge(query); err != nil {
		return err
	}
	return p.set(&body.Content, &body.Options)
}

// readMany decodes a PushMany.
func (p *push) readMany(data []byte) error {
	if _, ok := p.readEnvelope(data, membersMany); ok {
		return nil
	}
	var body PushMany
	if err := decodeObject(data, &body); err != nil {
		return err
	}
	return p.setMany(&body)
}

// readLine decodes a BulkLine and returns its idempotency key. It returns "" for an
// invalid key: such a key has no bound, and must not be kept in memory until the line
// is answered.
func (p *push) readLine(data []byte) (key string, err error) {
	if key, ok := p.readEnvelope(data, membersBulk); ok {
		return key, nil
	}
	var body BulkLine
	err = decodeObject(data, &body)
	if body.Key != nil && validIdempotencyKey(*body.Key) {
		key = *body.Key
	}
	if err == nil {
		err = p.setMany(&body.PushMany)
	}
	return key, err
}

// raw reads the body as the payload of p.
func (s *server) raw(w http.ResponseWriter, r *http.Request, p *push, o *Options) error {
	var buf bytes.Buffer
	if err := s.readBody(w, r, min(s.cfg.MaxBody, gateway.MaxPayload), &buf); err != nil {
		return err
	}
	t := mediaType(r)
	if t == formType && looksLikeObject(buf.Bytes()) {
		return problem(unsupportedMediaType, "curl -d sends a form content type. For a JSON envelope: %s", jsonCommand(r, buf.Bytes()))
	}
	p.Payload, p.Encoding = buf.Bytes(), gateway.EncodingBinary
	if (t == formType || strings.HasPrefix(t, "text/")) && utf8.Valid(p.Payload) {
		p.Encoding = gateway.EncodingText
	}
	p.options(o)
	return nil
}

// formType is the content type of curl -d without a -H.
const formType = "application/x-www-form-urlencoded"

func looksLikeObject(body []byte) bool {
	t := bytes.TrimSpace(body)
	return len(t) > 1 && t[0] == '{' && t[len(t)-1] == '}'
}

// jsonCommand returns the command that the caller probably meant.
func jsonCommand(r *http.Request, body []byte) string {
	data := `{"text":"hello"}`
	if len(body) <= 200 && !bytes.ContainsRune(body, '\'') && json.Valid(body) {
		data = string(body)
		if decodeStrict(body, new(PushOne)) != nil {
			data = `{"json":` + data + `}`
		}
	}
	return "curl -H 'Content-Type: application/json' -d '" + data + "' '" + urlOf(r) + "'"
}

// sayEnvelope adds advice to the problem of a body that is the payload itself.
func sayEnvelope(err error, data []byte) error {
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Code() != string(unknownField) {
		return err
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members["text"] != nil || members["json"] != nil || members["base64"] != nil {
		return err
	}
	said := *p
	said.Detail += `. A payload goes into a member: {"json":{…}}, {"text":"…"} or {"base64":"…"}`
	return &said
}

// urlOf returns the request's URL, quoted so that it can stand between single quotes in
// a shell.
func urlOf(r *http.Request) string {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + strings.ReplaceAll(r.Host+r.URL.RequestURI(), "'", "%27")
}

// mediaType returns the request's content type without parameters, in lower case; ""
// if there is none or it is malformed.
func mediaType(r *http.Request) string {
	switch v := r.Header.Get("Content-Type"); v {
	case "", "application/json":
		return v
	default:
		t, _, err := mime.ParseMediaType(v)
		if err != nil {
			return ""
		}
		return t
	}
}

// pushMany pushes to an audience.
//
//	@ID				pushMany
//	@Summary		Push a message to one or many clients
//	@Description	`to` has exactly one of client, clients (at most 1,000), group, labels, all. Who belongs to it is fixed when the message is accepted.
//	@Description	In a list, unknown clients become `failed` deliveries; `all` is every client that has ever registered, `online_only` narrows it to those connected.
//	@Description	`rate` is the number of connected clients to which delivery begins in a second. This process applies it and does not store it: a client that connects, or gets another message, before its turn gets the message at once, and after a restart all remaining clients get it at once.
//	@Tags			messages
//	@Accept			json
//	@Produce		json
//	@Param			push			body		PushMany	true	"the push and its audience"
//	@Param			wait			query		string		false	"wait for the final state, at most 60s"	example(5s)
//	@Param			Prefer			header		string		false	"wait=5 is the same as ?wait=5s"
//	@Param			Idempotency-Key	header		string		false	"repeats of the same push within 24 h get the first one's message; 1 to 255 characters of printable ASCII"
//	@Success		200				{object}	Message		"final"
//	@Success		202				{object}	Message		"accepted: on disk"
//	@Header			200,202			{string}	Location	"the message"
//	@x-scope		"messages:write"
//	@Router			/v1/messages [post]
func (s *server) pushMany(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	p := push{wait: s.waitOf(q, r)}
	if err := q.done(); err != nil {
		return err
	}
	if mediaType(r) != "application/json" {
		return problem(unsupportedMediaType, "send a JSON object: curl -H 'Content-Type: application/json' -d '%s' '%s'",
			`{"to":{"all":true},"text":"hello"}`, urlOf(r))
	}
	if err := s.withBody(w, r, p.readMany); err != nil {
		return err
	}
	return s.push(w, r, &p)
}

func (p *push) setMany(body *PushMany) error {
	if err := p.set(&body.Content, &body.Options); err != nil {
		return err
	}
	p.To = body.To.audience()
	p.OnlineOnly, p.Rate = body.OnlineOnly, body.Rate
	return nil
}

// push pushes one decoded message and answers the request.
func (s *server) push(w http.ResponseWriter, r *http.Request, p *push) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	if err := p.identify(key, exchangeOf(w).principal); err != nil {
		return err
	}
	if p.online {
		return s.pushOnline(w, r, p)
	}
	if p.wait.d > 0 {
		return s.pushAndWait(w, r, p)
	}
	receipt, err := s.view(w).Push(&p.PushRequest)
	if err != nil {
		return err
	}
	return s.answerPush(w, receipt, p, http.StatusAccepted)
}

func (s *server) pushAndWait(w http.ResponseWriter, r *http.Request, p *push) error {
	ctx, linger, release := s.waitUnder(w, r)
	defer release()
	p.Linger = linger
	receipt, err := s.view(w).PushAndAwait(ctx, &p.PushRequest, p.wait.d)
	s.endWithKey(w)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if receipt.Message.Completed() {
		status = http.StatusOK
	}
	return s.answerPush(w, receipt, p, status)
}

// answerPush answers with a stored message.
func (s *server) answerPush(w http.ResponseWriter, receipt tenant.Receipt, p *push, status int) error {
	v := messageView(s.view(w), &receipt.Message)
	v.Unknown = receipt.Unknown
	h := w.Header()
	h["Location"] = []string{"/v1/messages/" + v.ID}
	if receipt.Replayed {
		h["Idempotency-Replayed"] = []string{"true"}
	}
	p.wait.applied(h)
	return writeMessage(w, status, &v)
}

// pushOnline delivers now or never.
func (s *server) pushOnline(w http.ResponseWriter, r *http.Request, p *push) error {
	started := time.Now()
	online := p.onlineRequest()
	ctx, linger, release := s.waitUnder(w, r)
	defer release()
	online.Linger = linger
	result, err := s.view(w).PushOnline(ctx, online)
	s.endWithKey(w)
	if err != nil {
		return err
	}
	p.wait.applied(w.Header())
	v := onlineView(&result, p, started)
	return writeMessage(w, http.StatusOK, &v)
}

func (p *push) onlineRequest() gateway.OnlineRequest {
	return gateway.OnlineRequest{Client: p.To.Client, Payload: p.Payload, Wait: p.wait.d, Metadata: p.Metadata}
}

// checkOnline refuses options that need a stored message.
func (p *push) checkOnline(key string) error {
	switch {
	case key != "":
		return invalidFields(FieldError{Parameter: "Idempotency-Key", Detail: "needs mode=durable: mode=online stores nothing that could be replayed"})
	case p.TTL != 0:
		return invalidBody("/ttl", "needs mode=durable: mode=online delivers now or never")
	case p.QueueUnknown:
		return invalidBody("/on_unknown", "needs mode=durable: mode=online queues nothing")
	}
	return nil
}

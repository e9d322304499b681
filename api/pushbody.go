package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// Content is the payload of a push: exactly one of text, json and base64. The
// device gets plain bytes; json in its compact form, on one line.
type Content struct {
	Text   *string         `json:"text,omitempty" example:"hello"`      // a payload of text
	JSON   json.RawMessage `json:"json,omitempty" swaggertype:"object"` // a payload of JSON; the device gets it in its compact form
	Base64 *string         `json:"base64,omitempty" format:"byte"`      // a payload of any bytes
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
	Rate *int `json:"rate,omitempty" minimum:"1" maximum:"100000" example:"500"`
	// MaxRecipients refuses the message with 412 if its audience has more clients when
	// it is accepted. Nothing is stored then.
	MaxRecipients *int `json:"max_recipients,omitempty" minimum:"1" example:"200"`
	// DryRun answers with the audience, stores nothing and sends nothing.
	DryRun bool `json:"dry_run,omitempty"`
} //@name PushMany

// Audience selects the clients that get a message. It has exactly one member.
type Audience struct {
	Client  string            `json:"client,omitempty" empty:"no" validate:"omitempty,clientid" example:"truck-17"`                    // one client
	Clients []string          `json:"clients,omitempty" validate:"omitempty,min=1,max=1000,dive,clientid"`                             // these clients
	Group   string            `json:"group,omitempty" empty:"no" validate:"omitempty,group"`                                           // the members of this group
	Labels  map[string]string `json:"labels,omitempty" validate:"omitempty,min=1,max=32,dive,keys,labelkey,endkeys,bytes=256,max=256"` // the clients with all these labels
	All     bool              `json:"all,omitempty"`                                                                                   // every known client
} //@name Audience

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
			return nil, 0, problem.New(problem.MalformedJSON, "/json is not valid JSON")
		}
		return b.Bytes(), gateway.EncodingJSON, nil
	}
	raw, err := base64.StdEncoding.DecodeString(*c.Base64)
	if err != nil {
		return nil, 0, problem.InvalidBody("/base64", "is not standard base64 with padding")
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
		return problem.TooLarge(gateway.MaxPayload, "the payload")
	}
	p.Payload, p.Encoding = payload, encoding
	p.options(o)
	return nil
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
		return problem.New(problem.UnsupportedMediaType, "curl -d sends a form content type. For a JSON envelope: %s", jsonCommand(w, r, buf.Bytes()))
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
func jsonCommand(w http.ResponseWriter, r *http.Request, body []byte) string {
	data := `{"text":"hello"}`
	if len(body) <= 200 && !bytes.ContainsRune(body, '\'') && json.Valid(body) {
		data = string(body)
		if decodeStrict(body, new(PushOne)) != nil {
			data = `{"json":` + data + `}`
		}
	}
	return "curl -H 'Content-Type: application/json' -d '" + data + "' '" + urlOf(w, r) + "'"
}

// sayEnvelope adds advice to the problem of a body that is the payload itself.
func sayEnvelope(err error, data []byte) error {
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok || p.Code() != string(problem.UnknownField) {
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
func urlOf(w http.ResponseWriter, r *http.Request) string {
	scheme := "http://"
	if exchangeOf(w).secure {
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

// oneMediaType returns an error if the content type is repeated or malformed. A body
// that is the payload itself may have any type, so such a JSON object would reach the
// device as it is.
func oneMediaType(r *http.Request) error {
	values := r.Header["Content-Type"]
	if len(values) > 1 {
		return problem.New(problem.UnsupportedMediaType, "Content-Type comes %d times; send one", len(values))
	}
	if len(values) == 1 && values[0] != "" && mediaType(r) == "" {
		return problem.New(problem.UnsupportedMediaType, "Content-Type %.100q is malformed; send one such as text/plain or application/json", values[0])
	}
	return nil
}

func (p *push) setMany(body *PushMany) error {
	if err := p.set(&body.Content, &body.Options); err != nil {
		return err
	}
	p.To = body.To.audience()
	p.OnlineOnly, p.dryRun = body.OnlineOnly, body.DryRun
	set(&p.Rate, body.Rate)
	set(&p.MaxRecipients, body.MaxRecipients)
	return nil
}

package api

import (
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// Values of Options.
const (
	modeDurable  = "durable"
	modeOnline   = "online"
	unknownFail  = "fail"
	unknownQueue = "queue"
)

// Options are the options of a push. Without a mode it is durable.
type Options struct {
	Mode      string            `json:"mode,omitempty" empty:"no" validate:"omitempty,oneof=durable online" enums:"durable,online"`     // durable (default): stored, and delivered until the ttl ends; online: now or never
	TTL       string            `json:"ttl,omitempty" empty:"no" validate:"omitempty,ttl" example:"24h"`                                // it is never delivered after this long, 1s to 30d; 24h unless given
	OnUnknown string            `json:"on_unknown,omitempty" empty:"no" validate:"omitempty,oneof=fail queue" enums:"fail,queue"`       // treatment of a client that was never seen: fail (default), or queue for its first connection
	Metadata  map[string]string `json:"metadata,omitempty" validate:"max=16,dive,keys,min=1,bytes=64,max=64,endkeys,bytes=512,max=512"` // the caller's own notes: kept with the message, not sent to the device
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
			return problem.BadParameter(pair.name, "is given in the body too")
		default:
			*pair.body = pair.more
		}
	}
	if query.Metadata != nil && o.Metadata != nil {
		return problem.BadParameter("metadata", "is given in the body too")
	}
	if query.Metadata != nil {
		o.Metadata = query.Metadata
	}
	return nil
}

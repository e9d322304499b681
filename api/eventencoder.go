package api

import (
	"encoding/json"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// EventEncoder returns a function that writes events as GET /v1/events shows them, for
// package webhook. source is Config.Source.
func EventEncoder(g *gateway.Gateway, source string) func(e *gateway.Event, payloads bool) (body []byte, id string, err error) {
	form := &eventForm{source: Config{Source: source}.withDefaults().Source, key: keyOfLog(g.Log()), whole: func(u *gateway.Uplink) (gateway.Uplink, bool, error) { return tenant.Whole(g, u) }}
	return func(e *gateway.Event, payloads bool) ([]byte, string, error) {
		v, err := form.event(e, payloads)
		if err != nil {
			return nil, "", err
		}
		body, err := json.Marshal(v)
		return body, v.ID, err
	}
}

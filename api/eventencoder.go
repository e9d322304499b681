package api

import (
	"encoding/json"

	"github.com/longwire/longwire/gateway"
)

// EventEncoder returns a function that writes events as GET /v1/events shows them, for
// package webhook. source is Config.Source.
func EventEncoder(g *gateway.Gateway, source string) func(e *gateway.Event, payloads bool) (body []byte, id string, err error) {
	form := &eventForm{source: Config{Source: source}.withDefaults().Source, key: keyOfLog(g.Log()), view: wholeUplinks{g}}
	return func(e *gateway.Event, payloads bool) ([]byte, string, error) {
		v, err := form.event(e, payloads)
		if err != nil {
			return nil, "", err
		}
		body, err := json.Marshal(v)
		return body, v.ID, err
	}
}

// wholeUplinks reads uplinks for the gateway itself.
type wholeUplinks struct{ g *gateway.Gateway }

func (w wholeUplinks) Whole(u *gateway.Uplink) (gateway.Uplink, bool, error) {
	page, err := w.g.Uplinks(u.Client, u.Seq-1, 1)
	if err != nil || len(page.Items) == 0 || page.Items[0].Seq != u.Seq {
		return *u, false, err
	}
	return page.Items[0], true, nil
}

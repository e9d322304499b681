package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestUnknownAndForeignAreSaidAlike: a tenant's own prefix has ids that nobody
// is known by. What it hears of these is word for word what it hears of another
// tenant's client, on every way to a client.
func TestUnknownAndForeignAreSaidAlike(t *testing.T) {
	w := newWorld(t)
	online := w.device("b-on", gatewaytest.Options{})
	defer online.Disconnect(gateway.ReasonClientClosed)
	for name, ask := range map[string]func(id string) answer{
		"push": func(id string) answer { return w.as("a", "POST", "/v1/clients/"+id+"/messages", "x") },
		"push and wait": func(id string) answer {
			return w.as("a", "POST", "/v1/clients/"+id+"/messages?wait=1ms", "x")
		},
		"push online": func(id string) answer { return w.as("a", "POST", "/v1/clients/"+id+"/messages?mode=online", "x") },
		"push to": func(id string) answer {
			return w.as("a", "POST", "/v1/messages", `{"to":{"client":"`+id+`"},"text":"x"}`)
		},
		"push to and wait": func(id string) answer {
			return w.as("a", "POST", "/v1/messages?wait=1ms", `{"to":{"client":"`+id+`"},"text":"x"}`)
		},
		"bulk": func(id string) answer {
			return w.as("a", "POST", "/v1/messages/bulk", `{"to":{"client":"`+id+`"},"text":"x"}`, "Content-Type", ndjson)
		},
		"bulk online": func(id string) answer {
			return w.as("a", "POST", "/v1/messages/bulk", onlineLine(id, "x"), "Content-Type", ndjson)
		},
		"get":           func(id string) answer { return w.as("a", "GET", "/v1/clients/"+id, "") },
		"patch":         func(id string) answer { return w.as("a", "PATCH", "/v1/clients/"+id, `{"labels":{"a":"b"}}`) },
		"patch null":    func(id string) answer { return w.as("a", "PATCH", "/v1/clients/"+id, `{"labels":null}`) },
		"disconnect":    func(id string) answer { return w.as("a", "DELETE", "/v1/clients/"+id+"?block=1h", "") },
		"timeline":      func(id string) answer { return w.as("a", "GET", "/v1/clients/"+id+"/timeline", "") },
		"follow":        func(id string) answer { return w.as("a", "GET", "/v1/clients/"+id+"/timeline?follow=true", "") },
		"trace":         func(id string) answer { return w.as("a", "POST", "/v1/clients/"+id+"/trace", `{}`) },
		"end trace":     func(id string) answer { return w.as("a", "DELETE", "/v1/clients/"+id+"/trace", "") },
		"probe":         func(id string) answer { return w.as("a", "POST", "/v1/clients/"+id+"/probe", "") },
		"history":       func(id string) answer { return w.as("a", "GET", "/v1/clients/"+id+"/messages", "") },
		"messages":      func(id string) answer { return w.as("a", "GET", "/v1/messages?client="+id, "") },
		"uplinks":       func(id string) answer { return w.as("a", "GET", "/v1/uplinks?client="+id, "") },
		"why":           func(id string) answer { return w.as("a", "GET", "/v1/clients/"+id+"/why", "") },
		"why a message": func(id string) answer { return w.as("a", "GET", "/v1/messages/"+w.messages["a"]+"/why?client="+id, "") },
		"delivery":      func(id string) answer { return w.as("a", "GET", "/v1/messages/"+w.messages["a"]+"/deliveries/"+id, "") },
		"cancel queue":  func(id string) answer { return w.as("a", "DELETE", "/v1/clients/"+id+"/messages", "") },
	} {
		said := func(id string) string {
			a := ask(id)
			ids := regexp.MustCompile(`"(instance|now)":"[^"]*"|\b` + id + `\b`)
			return fmt.Sprint(a.status, ids.ReplaceAllString(string(a.body), "…"))
		}
		unknown := said("a-none")
		for _, id := range []string{"b-truck", "b-on", "g-truck", "z-none"} {
			if got := said(id); got != unknown {
				t.Errorf("%s: of %s a hears\n%s\nand of an unknown one of its own\n%s", name, id, got, unknown)
			}
		}
	}
	if got := online.Transmissions(); len(got) != 0 {
		t.Errorf("another tenant's device got %v", got)
	}
	if c := decode[Client](w.as("unlimited", "GET", "/v1/clients/b-on", "").want(200)); !c.Online || c.BlockedUntil != "" {
		t.Errorf("another tenant has disconnected or blocked it: %+v", c)
	}
}

// TestWaitingPushesReachTheTenantsOnly: the way that waits for final states is
// narrowed like the one that does not.
func TestWaitingPushesReachTheTenantsOnly(t *testing.T) {
	w := newWorld(t)
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang","shared"]}`).want(200)
	for _, push := range []struct {
		key, to string
		want    []string
	}{
		{"a", `{"all":true}`, []string{"a-truck queued"}},
		{"a", `{"group":"gang"}`, nil},
		{"g", `{"all":true}`, []string{"b-truck queued", "g-truck queued"}},
		{"g", `{"group":"shared"}`, []string{"b-truck queued"}},
		{"a", `{"clients":["a-truck","b-truck"]}`, []string{"a-truck queued"}},
	} {
		a := w.as(push.key, "POST", "/v1/messages?wait=1ms", `{"to":`+push.to+`,"text":"x"}`)
		m := decode[Message](a)
		if got := w.recipients(m.ID); !slices.Equal(got, push.want) {
			t.Errorf("%s to %s reached %v, want %v", push.key, push.to, got, push.want)
		}
		if strings.Contains(push.to, "clients") && !slices.Equal(m.Unknown, []gateway.ClientID{"b-truck"}) {
			t.Errorf("unknown %v, want b-truck", m.Unknown)
		}
		if len(push.want) > 0 {
			w.as("messages:read", "GET", "/v1/messages/"+m.ID, "").want(200)
			w.as(push.key, "GET", "/v1/messages/"+m.ID, "").want(200) // it is the tenant's own
		}
	}
}

// What happened to a client before it came into the group of a key may be another tenant's:
// its messages, their deliveries and its uplinks are not for that key, by any list.
func TestAGroupKeyHasAClientsHistorySinceItJoined(t *testing.T) {
	w := newWorld(t)
	l := w.device("b-truck", gatewaytest.Options{})
	uplinks := 1 // of newWorld
	happens := func(text string) (message string) {
		t.Helper()
		id := w.push("unlimited", `{"to":{"client":"b-truck"},"text":"`+text+`"}`)
		uplinks++
		if err := l.Session.Received(t.Context(), uint64(uplinks), []byte(text)); err != nil {
			t.Fatal(err)
		}
		return id
	}
	groups := func(names string) {
		t.Helper()
		w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":[`+names+`]}`).want(200)
	}
	// sees checks that g has these texts and messages, in order, and the others not.
	sees := func(texts []string, messages, hidden []string) {
		t.Helper()
		shown := map[uint64]bool{}
		for _, target := range []string{"/v1/uplinks?client=b-truck", "/v1/uplinks?client=b-truck&order=desc", "/v1/uplinks", "/v1/uplinks?order=desc"} {
			var got []string
			for _, u := range decode[UplinkPage](w.as("g", "GET", target, "").want(200)).Items {
				if u.Client == "b-truck" {
					got = append(got, *u.Text)
					shown[u.Seq] = true
				}
			}
			if strings.Contains(target, "desc") {
				slices.Reverse(got)
			}
			if !slices.Equal(got, texts) {
				t.Errorf("%s has %q, want %q", target, got, texts)
			}
		}
		for _, u := range decode[UplinkPage](w.as("unlimited", "GET", "/v1/uplinks?client=b-truck", "").want(200)).Items {
			status := 404
			if shown[u.Seq] {
				status = 200
			}
			w.as("g", "GET", fmt.Sprintf("/v1/uplinks/%d/payload", u.Seq), "").want(status)
		}
		var got []string
		for _, d := range decode[MessagePage](w.as("g", "GET", "/v1/clients/b-truck/messages", "").want(200)).Items {
			got = append(got, d.ID)
		}
		slices.Reverse(got)
		if !slices.Equal(got, messages) {
			t.Errorf("the deliveries are of %q, want %q", got, messages)
		}
		list := string(w.as("g", "GET", "/v1/messages?limit=100", "").want(200).body)
		for _, id := range hidden {
			w.as("g", "GET", "/v1/messages/"+id, "").want(404)
			w.as("g", "GET", "/v1/messages/"+id+"/deliveries", "").want(404)
			w.as("g", "GET", "/v1/messages/"+id+"/why", "").want(404)
			if strings.Contains(list, id) {
				t.Errorf("%s is listed", id)
			}
		}
		for _, id := range messages {
			w.as("g", "GET", "/v1/messages/"+id, "").want(200)
		}
	}
	before := happens("before")
	groups(`"gang"`)
	sees(nil, nil, []string{before})
	after := happens("after")
	sees([]string{"after"}, []string{after}, []string{before})
	groups(`"gang","winter"`) // the one group does not hide the other's history
	sees([]string{"after"}, []string{after}, []string{before})
	groups(`"winter"`)
	away := happens("away")
	groups(`"gang"`)
	sees(nil, nil, []string{before, after, away})
}

// The answer to a message from before a client came into the group of a key belongs to the
// message, which that key may not see: neither the event nor the timeline shows it.
func TestAGroupKeyHasNoAnswersToEarlierMessages(t *testing.T) {
	w := newWorld(t)
	come := make(chan gateway.Transmission, 10)
	l := w.device("b-truck", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		come <- p
	}})
	before := w.push("b", `{"to":{"client":"b-truck"},"text":"before"}`)
	many := w.push("b", `{"to":{"clients":["b-truck"]},"text":"before"}`)
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang"]}`).want(200)
	after := w.push("unlimited", `{"to":{"client":"b-truck"},"text":"after"}`)
	own := w.push("g", `{"to":{"clients":["b-truck"]},"text":"own"}`)
	all := []string{before, many, after, own}
	for range len(all) + 2 { // and those of newWorld
		l.Ack(<-come, gateway.AckOK, []byte("result"))
	}
	sub, _, err := w.gateway.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	for told := 0; told < len(all); { // the log tells of them a moment later
		events, err := sub.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == gateway.EventMessageAcked && slices.Contains(all, string(e.Message)) {
				told++
			}
		}
	}
	for key, want := range map[string][]string{"unlimited": all, "b": all, "g": {after, own}} {
		r := newRequest(t.Context(), "GET", "/v1/events?after=earliest&follow=false&client=b-truck&types=message.acked", "")
		r.Header.Set("Accept", ndjson)
		r.Header.Set("Authorization", "Bearer "+w.secrets[key])
		got := newRecorder()
		w.handler.ServeHTTP(got, r)
		var events []string
		for _, line := range strings.Split(got.Body.String(), "\n") {
			if strings.Contains(line, "specversion") {
				if id := decode[Event](answer{t: t, body: []byte(line)}).Data.MessageID; slices.Contains(all, id) {
					events = append(events, id)
				}
			}
		}
		slices.Sort(events)
		slices.Sort(want)
		if !slices.Equal(events, want) {
			t.Errorf("%s sees the answers to %q, want %q", key, events, want)
		}
		var steps []string
		for _, e := range decode[Timeline](w.as(key, "GET", "/v1/clients/b-truck/timeline", "").want(200)).Items {
			if slices.Contains(all, e.Message) && !slices.Contains(steps, e.Message) {
				steps = append(steps, e.Message)
			}
		}
		slices.Sort(steps)
		if !slices.Equal(steps, want) {
			t.Errorf("the timeline of %s has the messages %q, want %q", key, steps, want)
		}
	}
}

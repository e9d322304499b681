//go:build linux

package sysdisk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// view is what the API of a gateway on a rebuilt disk shows.
type view struct {
	*caller
	tcpAddr    string
	messages   map[string]answer    // by id
	deliveries map[[2]string]answer // by id and client
	uplinks    map[string]uint64    // sequence by client and quoted payload
	labels     map[string]map[string]string

	log              string // of a new registration
	seq, useq, event uint64 // numbers of a new message, a new uplink and a new event
}

// look reads everything, and then makes one message, one uplink and an event to see
// their numbers.
func look(g *gateway, c *caller, clients []string, token string) (*view, error) {
	v := &view{caller: c, tcpAddr: g.tcpAddr, messages: map[string]answer{}, deliveries: map[[2]string]answer{}, uplinks: map[string]uint64{},
		labels: map[string]map[string]string{}}
	err := c.pages("/v1/messages?", func(m answer) {
		v.messages[m.ID] = m
		if m.Client != "" {
			v.deliveries[[2]string{m.ID, m.Client}] = m
		}
	})
	if err != nil {
		return nil, err
	}
	if err := c.pages("/v1/clients?status=all&", func(a answer) { v.labels[a.ID] = a.Labels }); err != nil {
		return nil, err
	}
	for _, id := range clients {
		if v.labels[id] == nil {
			continue // not registered yet
		}
		if err := c.pages("/v1/messages?client="+id+"&", func(m answer) { v.deliveries[[2]string{m.ID, id}] = m }); err != nil {
			return nil, err
		}
		if err := c.pages("/v1/uplinks?client="+id+"&", func(u answer) { v.uplinks[id+" "+text(u.Text)] = u.Seq }); err != nil {
			return nil, err
		}
	}
	return v, v.numbers(g, token)
}

// numbers fills in what new things get. What was told before can have these only
// if numbers are given twice.
func (v *view) numbers(g *gateway, token string) error {
	stream, err := v.follow()
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	s, err := connect(g.tcpAddr, "probe", token)
	if err != nil {
		return fmt.Errorf("a device cannot register: %w", err)
	}
	defer s.nc.Close()
	v.log = s.log
	var e event
	lines := bufio.NewScanner(stream.Body)
	for e.Sequence == "" && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			err = json.Unmarshal([]byte(data), &e)
		}
	}
	if err = errors.Join(err, lines.Err()); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	if v.event, err = strconv.ParseUint(e.Sequence, 10, 64); err != nil {
		return err
	}
	if a, err := v.call("POST", "/v1/clients/probe/messages", "", `{"text":"probe"}`); err != nil || a.code != 202 {
		return fmt.Errorf("a new push is answered %d, %v", a.code, err)
	}
	f, err := s.await(frameData)
	if err != nil {
		return fmt.Errorf("a new message does not arrive: %w", err)
	}
	v.seq = f.number
	if err := s.uplink(1, "probe"); err != nil {
		return err
	}
	return v.pages("/v1/uplinks?client=probe&", func(u answer) { v.useq = u.Seq })
}

func (v *view) follow() (*http.Response, error) {
	req, err := http.NewRequest("GET", "http://"+v.addr+"/v1/events", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream") // begins at once, also where nothing happens
	if v.key != "" {
		req.Header.Set("Authorization", "Bearer "+v.key)
	}
	// A transport of its own: the stream's connection must not serve others.
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err == nil && res.StatusCode != http.StatusOK {
		res.Body.Close()
		err = fmt.Errorf("the event stream answers %d", res.StatusCode)
	}
	return res, err
}

// check returns the facts that are not true of the view, each with the reason.
// The last facts and a sample of the others are asked for, too.
func (v *view) check(told []*fact, seed uint64) (checked int, broken []string) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for i, f := range told {
		err := f.holds(v)
		checked++
		if err == nil && f.ask != nil && (i >= len(told)-20 || rng.IntN(len(told)) < 10) {
			checked++
			err = f.ask(v)
		}
		if err != nil {
			broken = append(broken, fmt.Sprintf("told at %d: %s: %v", f.at, f.what, err))
		}
	}
	return checked, broken
}

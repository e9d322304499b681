package simulator

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// records are clients without a gateway.
type records map[gateway.ClientID]gateway.Client

func (r records) Client(id gateway.ClientID) (gateway.Client, error) {
	c, ok := r[id]
	if !ok {
		return c, &gateway.Error{Code: gateway.CodeClientNotFound}
	}
	return c, nil
}

func (r records) CreateClient(_ context.Context, id gateway.ClientID, ch gateway.ClientChange) (gateway.Client, error) {
	if c, ok := r[id]; ok {
		return c, &gateway.Error{Code: gateway.CodeClientExists}
	}
	c := gateway.Client{ClientRecord: gateway.ClientRecord{ID: id, Labels: map[string]string{}}}
	for name, value := range ch.Labels {
		c.Labels[name] = *value
	}
	r[id] = c
	return c, nil
}

func (r records) Forget(_ context.Context, id gateway.ClientID) (int, error) {
	delete(r, id)
	return 0, nil
}

func (r records) ids() []gateway.ClientID {
	var all []gateway.ClientID
	for id := range r {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func newSimulator(t *testing.T, r records) *Simulator {
	t.Helper()
	s := New(Config{Clients: r, Enabled: func() bool { return false }, Token: NewToken(),
		Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("no listener") }})
	t.Cleanup(s.Close)
	return s
}

func (s *Simulator) ids() (all []gateway.ClientID) {
	for _, d := range s.Status().Devices {
		all = append(all, d.ID)
	}
	return all
}

func set(t *testing.T, s *Simulator, count int, p Profile) {
	t.Helper()
	if _, err := s.Set(t.Context(), count, p); err != nil {
		t.Fatal(err)
	}
}

func TestSetMakesWhatIsAskedForAndKeepsWhatFits(t *testing.T) {
	r := records{"real": {}}
	s := newSimulator(t, r)
	set(t, s, 7, Mixed)
	want := []gateway.ClientID{"sim-steady-1", "sim-chatty-2", "sim-slow-3", "sim-rejecting-4", "sim-flaky-5", "sim-silent-6", "sim-steady-7"}
	if got := s.ids(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	first := s.devices[0]
	set(t, s, 2, Steady)
	if got := s.ids(); !slices.Equal(got, []gateway.ClientID{"sim-steady-1", "sim-steady-2"}) {
		t.Errorf("got %v", got)
	}
	if s.devices[0] != first {
		t.Error("a device that fits was replaced")
	}
	if got := r.ids(); !slices.Equal(got, []gateway.ClientID{"real", "sim-steady-1", "sim-steady-2"}) {
		t.Errorf("clients: %v", got)
	}
	set(t, s, MaxDevices, Silent)
	if got := len(s.ids()); got != MaxDevices {
		t.Errorf("%d devices", got)
	}
	for _, wrong := range []struct {
		count int
		p     Profile
	}{{0, Mixed}, {MaxDevices + 1, Mixed}, {1, "angry"}, {1, ""}} {
		if _, err := s.Set(t.Context(), wrong.count, wrong.p); err == nil {
			t.Errorf("%v was accepted", wrong)
		}
	}
}

// A Set that fails in its middle leaves devices, and they have a profile.
func TestDevicesOfAHalfDoneSetHaveTheirProfile(t *testing.T) {
	s := newSimulator(t, records{"sim-steady-2": {}})
	if _, err := s.Set(t.Context(), 2, Steady); gateway.CodeOf(err) != gateway.CodeClientExists {
		t.Fatalf("got %v, want %s", err, gateway.CodeClientExists)
	}
	if st := s.Status(); len(st.Devices) != 1 || st.Profile != Steady {
		t.Errorf("%d devices with the profile %q, want 1 with %q", len(st.Devices), st.Profile, Steady)
	}
}

func TestClearRemovesTheClientsOfAnEarlierProcessToo(t *testing.T) {
	r := records{"real": {}, "sim-steady-3": {}}
	before := newSimulator(t, r)
	set(t, before, 2, Chatty)
	before.Close()
	if got := len(r.ids()); got != 4 {
		t.Fatalf("%d clients after Close, want 4", got)
	}
	if err := newSimulator(t, r).Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.ids(); !slices.Equal(got, []gateway.ClientID{"real", "sim-steady-3"}) {
		t.Errorf("left: %v, want the two that are not simulated", got)
	}
}

func TestSetLeavesAClientAloneThatIsNotSimulated(t *testing.T) {
	s := newSimulator(t, records{"sim-steady-1": {}})
	if _, err := s.Set(t.Context(), 1, Steady); gateway.CodeOf(err) != gateway.CodeClientExists {
		t.Errorf("got %v", err)
	}
	if got := s.ids(); len(got) != 0 {
		t.Errorf("it is simulated: %v", got)
	}
}

func TestRunningDevicesKeepTheSimulatorOn(t *testing.T) {
	s := newSimulator(t, records{})
	if s.Enabled() {
		t.Error("on without devices")
	}
	set(t, s, 1, Steady)
	if !s.Enabled() {
		t.Error("off, and nobody could end its devices")
	}
	s.Close()
	if _, err := s.Set(t.Context(), 1, Steady); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOnlySimulatedDevicesOfThisProcessAreAdmitted(t *testing.T) {
	token := NewToken()
	hello := func(id, token, from string) *gateway.Hello {
		return &gateway.Hello{Client: gateway.ClientID(id), Token: token, Remote: netip.MustParseAddrPort(from)}
	}
	for _, c := range []struct {
		h    *gateway.Hello
		want bool
	}{
		{hello("sim-steady-1", token, "127.0.0.1:4000"), true},
		{hello("sim-steady-1", token, "[::1]:4000"), true},
		{hello("sim-steady-1", "", "127.0.0.1:4000"), false},
		{hello("sim-steady-1", NewToken(), "127.0.0.1:4000"), false},
		{hello("truck-17", token, "127.0.0.1:4000"), false},
		{hello("sim-steady-1", token, "192.0.2.7:4000"), false},
	} {
		if got := Admits(token, c.h); got != c.want {
			t.Errorf("%s with %q from %v: %t", c.h.Client, c.h.Token, c.h.Remote, got)
		}
	}
}

// hangingRecords answers no CreateClient before its context ends.
type hangingRecords struct {
	records
	asked chan struct{}
}

func (r *hangingRecords) CreateClient(ctx context.Context, _ gateway.ClientID, _ gateway.ClientChange) (gateway.Client, error) {
	close(r.asked)
	<-ctx.Done()
	return gateway.Client{}, ctx.Err()
}

// A store that hangs does not hold up the end of the process.
func TestCloseEndsASet(t *testing.T) {
	r := &hangingRecords{records{}, make(chan struct{})}
	s := New(Config{Clients: r, Enabled: func() bool { return true }, Token: NewToken(),
		Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("no listener") }})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	failed := make(chan error, 1)
	go func() { _, err := s.Set(ctx, 1, Steady); failed <- err }()
	<-r.asked
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case err := <-failed:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Set returns %v, want %v", err, ErrClosed)
		}
	case <-time.After(2 * time.Second):
		t.Error("the end waits for the store")
		leave()
	}
	<-closed
}

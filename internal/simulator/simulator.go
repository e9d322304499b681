package simulator

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// MaxDevices bounds the simulated devices.
const MaxDevices = 100

// Label is the label of a simulated client; its value is the profile.
const Label = "simulator"

// prefix begins the ids of simulated clients.
const prefix = "sim-"

// settleTime is how long Set waits for the first connections.
const settleTime = 2 * time.Second

// ErrClosed is returned after Close: the process stops.
var ErrClosed = errors.New("simulator: closed")

// Clients is the part of the gateway that has the clients' records.
type Clients interface {
	Client(gateway.ClientID) (gateway.Client, error)
	CreateClient(context.Context, gateway.ClientID, gateway.ClientChange) (gateway.Client, error)
	Forget(context.Context, gateway.ClientID) (canceled int, err error)
}

// Config is what New needs; all fields are required.
type Config struct {
	Clients Clients
	// Dial connects to the device listener.
	Dial func(context.Context) (net.Conn, error)
	// Enabled reports whether devices may be simulated now.
	Enabled func() bool
	// Token is the credential of the devices, from NewToken.
	Token string
}

// NewToken returns a random token. It lives as long as the process, and Admits
// compares it.
func NewToken() string { return rand.Text() }

// Admits reports whether a registration is of a device that this process simulates.
// It needs no other credential.
func Admits(token string, h *gateway.Hello) bool {
	return strings.HasPrefix(string(h.Client), prefix) && h.Remote.Addr().Unmap().IsLoopback() &&
		subtle.ConstantTimeCompare([]byte(h.Token), []byte(token)) == 1
}

// Simulator runs simulated devices.
type Simulator struct {
	cfg  Config
	life context.Context // ends with Close, and with it a Set or Clear under way
	end  context.CancelFunc

	changing sync.Mutex // one Set, Clear or Close at a time; taken before mu

	mu      sync.Mutex
	profile Profile
	devices []*simulated
}

// New returns a simulator without devices.
func New(cfg Config) *Simulator {
	s := &Simulator{cfg: cfg}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Device is the state of one simulated device.
type Device struct {
	ID        gateway.ClientID
	Profile   Profile
	Connected bool
	Problem   string // why it is not connected; "" if it is, or has not tried yet
}

// Status is the state of the simulator.
type Status struct {
	Profile Profile // "" without devices
	Devices []Device
}

// Connected counts the devices that are connected.
func (s *Status) Connected() (n int) {
	for i := range s.Devices {
		if s.Devices[i].Connected {
			n++
		}
	}
	return n
}

// Enabled reports whether devices may be simulated, or are.
func (s *Simulator) Enabled() bool {
	s.mu.Lock()
	running := len(s.devices) > 0
	s.mu.Unlock()
	return running || s.cfg.Enabled()
}

// Status returns the present state.
func (s *Simulator) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Profile: s.profile, Devices: make([]Device, len(s.devices))}
	for i, d := range s.devices {
		st.Devices[i], _ = d.status()
	}
	return st
}

// Set makes count devices of the profile run, and removes all others with their
// clients. Devices that fit stay. It waits for the first connections, a moment at
// most. Errors: gateway.CodeClientExists if a client that is not simulated has one of
// the ids, ErrClosed, and those of Clients; after an error some devices may run.
func (s *Simulator) Set(ctx context.Context, count int, p Profile) (Status, error) {
	if count < 1 || count > MaxDevices || !p.Valid() {
		return Status{}, fmt.Errorf("simulate %d devices with the profile %q", count, p)
	}
	if err := s.change(ctx, func(ctx context.Context) error { return s.set(ctx, count, p) }); err != nil {
		return Status{}, err
	}
	return s.Status(), nil
}

// change makes one change, which ends with ctx and with Close.
func (s *Simulator) change(ctx context.Context, do func(context.Context) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := s.life.Err()
	if err == nil {
		err = do(ctx)
	}
	if err != nil && s.life.Err() != nil {
		return ErrClosed
	}
	return err
}

func (s *Simulator) set(ctx context.Context, count int, p Profile) error {
	var ids []gateway.ClientID
	for i := range count {
		ids = append(ids, idOf(p.of(i), i))
	}
	if err := s.remove(ctx, func(d *simulated) bool { return !slices.Contains(ids, d.id) }); err != nil {
		return err
	}
	for i, id := range ids {
		if err := s.add(ctx, id, p.of(i)); err != nil {
			return err
		}
		s.mu.Lock()
		s.profile = p // now that a device has it, also if the next one fails
		s.mu.Unlock()
	}
	s.settle(ctx)
	return nil
}

// idOf is the id of the i-th device.
func idOf(p Profile, i int) gateway.ClientID {
	return gateway.ClientID(fmt.Sprintf("%s%s-%d", prefix, p, i+1))
}

// add starts a device, unless it runs.
func (s *Simulator) add(ctx context.Context, id gateway.ClientID, p Profile) error {
	s.mu.Lock()
	runs := slices.ContainsFunc(s.devices, func(d *simulated) bool { return d.id == id })
	s.mu.Unlock()
	if runs {
		return nil
	}
	if err := s.create(ctx, id, p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices = append(s.devices, startDevice(&s.cfg, id, p))
	return nil
}

// create makes the client known with its label. A simulated client of an earlier
// process is as good.
func (s *Simulator) create(ctx context.Context, id gateway.ClientID, p Profile) error {
	value := string(p)
	_, err := s.cfg.Clients.CreateClient(ctx, id, gateway.ClientChange{Labels: map[string]*string{Label: &value}})
	if gateway.CodeOf(err) != gateway.CodeClientExists {
		return err
	}
	c, readErr := s.cfg.Clients.Client(id)
	switch {
	case readErr != nil:
		return readErr
	case c.Labels[Label] == "":
		return &gateway.Error{Code: gateway.CodeClientExists, Message: fmt.Sprintf("client %q is known and is not simulated: it has no label %s", id, Label)}
	}
	return nil
}

// Clear ends all devices and removes their clients, with those that an earlier
// process has left. Errors: ErrClosed, and those of Clients.
func (s *Simulator) Clear(ctx context.Context) error { return s.change(ctx, s.clear) }

func (s *Simulator) clear(ctx context.Context) error {
	if err := s.remove(ctx, func(*simulated) bool { return true }); err != nil {
		return err
	}
	for _, p := range Profiles[1:] {
		for i := range MaxDevices {
			if err := s.forget(ctx, idOf(p, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove ends the devices that match and removes their clients.
func (s *Simulator) remove(ctx context.Context, match func(*simulated) bool) error {
	s.mu.Lock()
	var out, rest []*simulated
	for _, d := range s.devices {
		if match(d) {
			out = append(out, d)
		} else {
			rest = append(rest, d)
		}
	}
	s.devices = rest
	if len(rest) == 0 {
		s.profile = ""
	}
	s.mu.Unlock()
	end(out)
	for _, d := range out {
		if err := s.forget(ctx, d.id); err != nil {
			return err
		}
	}
	return nil
}

// end stops devices and waits for them.
func end(devices []*simulated) {
	for _, d := range devices {
		d.stop()
	}
	for _, d := range devices {
		d.ended.Wait()
	}
}

// forget removes a client if it is simulated.
func (s *Simulator) forget(ctx context.Context, id gateway.ClientID) error {
	c, err := s.cfg.Clients.Client(id)
	if err == nil && c.Labels[Label] != "" {
		_, err = s.cfg.Clients.Forget(ctx, id)
	}
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		return nil
	}
	return err
}

// settle waits until each device was accepted or has failed once.
func (s *Simulator) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	s.mu.Lock()
	devices := s.devices
	s.mu.Unlock()
	for _, d := range devices {
		for {
			if _, tried := d.status(); tried || sleep(ctx, 10*time.Millisecond) != nil {
				break
			}
		}
	}
}

// Close ends a Set or Clear under way, and all devices. Their clients stay known.
func (s *Simulator) Close() {
	s.end()
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	devices := s.devices
	s.devices, s.profile = nil, ""
	s.mu.Unlock()
	end(devices)
}

package apikey

import "time"

// Info is a key in the form that administrators see.
type Info struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes"`
	Prefix     string    `json:"prefix,omitempty"`
	Group      string    `json:"group,omitempty"`
	Status     string    `json:"status"` // StatusActive or StatusExpired
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// Values of Info.Status.
const (
	StatusActive  = "active"
	StatusExpired = "expired"
)

// Info describes the key at a given time.
func (k *Key) Info(now time.Time) Info {
	i := Info{ID: k.ID, Name: k.Name, Scopes: k.Scopes.Names(), Prefix: k.Limit.Prefix, Group: k.Limit.Group, Status: StatusActive,
		CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsed()}
	if !k.Alive(now) {
		i.Status = StatusExpired
	}
	return i
}

// Created is a new key with its secret, which is shown only once.
type Created struct {
	Info
	Secret string `json:"secret"`
	// Warnings say what works no more because the API needs a key now: only the first
	// key has some.
	Warnings []string `json:"warnings,omitempty"`
}

// Request is a request for a key, with scopes by name.
type Request struct {
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	Prefix    string    `json:"prefix,omitempty"`
	Group     string    `json:"group,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Spec is the key that the request describes.
func (q *Request) Spec() (Spec, error) {
	scopes, err := ParseScopes(q.Scopes)
	if err != nil {
		return Spec{}, &SpecError{"scopes", err.Error()}
	}
	return Spec{Name: q.Name, Scopes: scopes, Limit: Limit{Prefix: q.Prefix, Group: q.Group}, ExpiresAt: q.ExpiresAt}, nil
}

// Make creates the key that q describes.
func (ks *Keyset) Make(q Request, now time.Time) (Created, error) {
	spec, err := q.Spec()
	if err != nil {
		return Created{}, err
	}
	k, secret, err := ks.Create(spec, now)
	if err != nil {
		return Created{}, err
	}
	return Created{Info: k.Info(now), Secret: secret}, nil
}

// Infos describes all keys of the file.
func (ks *Keyset) Infos(now time.Time) []Info {
	list := []Info{}
	for _, k := range ks.List() {
		list = append(list, k.Info(now))
	}
	return list
}

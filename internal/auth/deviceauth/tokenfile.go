package deviceauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/private"
)

// Bounds of a token file.
const (
	maxTokenFile = 64 << 20 // bytes
	maxTokenLine = 4 << 10  // bytes
	maxPatterns  = 1000     // entries with a pattern; a look-up tries each of them
	maxNote      = 256      // bytes
)

// TokenEntry is one line of a token file, a JSON object. An edit keeps blank lines
// and lines that begin with #. A client may have several entries, so that an
// operator can replace a token while the old one is in use.
type TokenEntry struct {
	Client    string    `json:"client,omitempty"`  // the id, or
	Pattern   string    `json:"pattern,omitempty"` // a pattern of ids
	SHA256    string    `json:"sha256"`            // of the token, hexadecimal
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero = never
	Groups    []string  `json:"groups,omitempty"`    // groups that the device may enter and leave
	Note      string    `json:"note,omitempty"`      // for people
}

// ID names the entry. It comes from the hash, so it is not secret and the file need
// not contain it.
func (e *TokenEntry) ID() string { return "dtk_" + e.SHA256[:16] }

// hash returns the hash of an entry that check has accepted.
func (e *TokenEntry) hash() (h [sha256.Size]byte) {
	hex.Decode(h[:], []byte(e.SHA256))
	return h
}

func (e *TokenEntry) check() error {
	sum, err := hex.DecodeString(e.SHA256)
	switch {
	case err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != e.SHA256:
		return errors.New("sha256 is not 64 digits of lower-case hexadecimal")
	case (e.Client == "") == (e.Pattern == ""):
		return errors.New("want either a client or a pattern")
	case e.Client != "" && !gateway.ClientID(e.Client).Valid():
		return errors.New("client is " + gateway.NotClientID)
	case len(e.Groups) > gateway.MaxGroups || slices.ContainsFunc(e.Groups, func(g string) bool { return !gateway.ValidGroup(g) }):
		return fmt.Errorf("want at most %d groups of 1 to %d letters", gateway.MaxGroups, gateway.MaxGroupName)
	case len(e.Note) > maxNote:
		return fmt.Errorf("note is longer than %d bytes", maxNote)
	case e.Pattern != "":
		return checkPattern(e.Pattern)
	}
	return nil
}

// tokenFile is a file as a list of lines.
type tokenFile struct {
	lines []tokenLine
}

type tokenLine struct {
	raw   []byte      // without the line's end
	entry *TokenEntry // nil for a comment
}

// ReadTokens returns the entries of a token file.
func ReadTokens(name string) ([]TokenEntry, error) {
	f, err := readTokenFile(name)
	if err != nil {
		return nil, err
	}
	var list []TokenEntry
	for _, l := range f.lines {
		if l.entry != nil {
			list = append(list, *l.entry)
		}
	}
	return list, nil
}

// readTokenFile reports the line of an error without its text, because an operator
// may have put a token itself into the file.
func readTokenFile(name string) (*tokenFile, error) {
	b, err := private.ReadTrusted(name, maxTokenFile)
	if err != nil {
		return nil, err
	}
	f := &tokenFile{}
	firstAt := map[string]int{}
	patterns := 0
	for number := 1; len(b) > 0; number++ {
		var raw []byte
		raw, b, _ = bytes.Cut(b, []byte{'\n'})
		l := tokenLine{raw: bytes.TrimSuffix(raw, []byte{'\r'})}
		if text := bytes.TrimSpace(l.raw); len(text) > 0 && text[0] != '#' {
			if l.entry, err = parseTokenLine(text); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, number, err)
			}
			if first, ok := firstAt[l.entry.SHA256]; ok {
				return nil, fmt.Errorf("%s:%d: the same token as in line %d", name, number, first)
			}
			firstAt[l.entry.SHA256] = number
			if l.entry.Pattern != "" {
				patterns++
			}
		}
		if patterns > maxPatterns {
			return nil, fmt.Errorf("%s:%d: more than %d patterns", name, number, maxPatterns)
		}
		f.lines = append(f.lines, l)
	}
	return f, nil
}

func parseTokenLine(text []byte) (*TokenEntry, error) {
	if len(text) > maxTokenLine {
		return nil, fmt.Errorf("longer than %d bytes", maxTokenLine)
	}
	var e TokenEntry
	if private.Decode(text, &e, "client", "pattern", "sha256", "created_at", "expires_at", "groups", "note") != nil {
		return nil, errors.New("not a JSON object with client or pattern, sha256, created_at, expires_at, groups and note, each once")
	}
	return &e, e.check()
}

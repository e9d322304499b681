package deviceauth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/longwire/longwire/internal/private"
)

// AddToken appends an entry to a token file. It creates a missing file.
func AddToken(name string, e TokenEntry) error {
	l, err := e.line()
	if err != nil {
		return err
	}
	return editTokens(name, true, func(f *tokenFile) error {
		f.lines = append(f.lines, l)
		return nil
	})
}

// line returns the line of an entry, as readTokenFile takes it.
func (e TokenEntry) line() (l tokenLine, err error) {
	if err := e.check(); err != nil {
		return l, err
	}
	l = tokenLine{entry: &e}
	if l.raw, err = json.Marshal(e); err == nil && len(l.raw) > maxTokenLine {
		err = fmt.Errorf("the entry is longer than %d bytes", maxTokenLine)
	}
	return l, err
}

// MaxClientTokens bounds the tokens of one client that IssueToken adds.
const MaxClientTokens = 16

// Errors of IssueToken.
var (
	ErrTokenUnknown  = errors.New("the client has no such token")
	ErrTokensTooMany = fmt.Errorf("the client has as many tokens as it may have: %d", MaxClientTokens)
	ErrTokensFull    = errors.New("the file of tokens is full")
	ErrTokensShare   = errors.New("the tokens of the tenant take as much of the file as is free")
)

// ErrNotDurable is the error of an edit that the file has, if the disk did not confirm
// it: a power cut may undo it.
var ErrNotDurable = errors.New("the file is changed, but the disk did not confirm it")

// IssueOptions are optional parts of IssueToken.
type IssueOptions struct {
	Replaces string // a token of the client that the same edit removes
	// Tenant is the prefix of the ids of a tenant; "" = none. Its tokens have at most as
	// many bytes of the file as are free, so that no tenant fills it for all others.
	Tenant string
}

// IssueToken appends an entry of a client to a token file. A missing file is an error: a
// new one would revoke the tokens of all devices. An entry without groups or note takes
// those of the token that it replaces. Errors: ErrTokenUnknown, ErrTokensTooMany,
// ErrTokensFull, ErrTokensShare, ErrBusy, ErrNotDurable.
func IssueToken(name string, e TokenEntry, o IssueOptions) (TokenEntry, error) {
	replaces := o.Replaces
	err := editTokens(name, false, func(f *tokenFile) error {
		own, found := 0, replaces == ""
		var keep []tokenLine
		for _, l := range f.lines {
			switch {
			case l.entry == nil || l.entry.Client != e.Client:
			case l.entry.ID() == replaces:
				found = true
				if e.Groups == nil {
					e.Groups = l.entry.Groups
				}
				e.Note = cmp.Or(e.Note, l.entry.Note)
				continue
			default:
				own++
			}
			keep = append(keep, l)
		}
		if !found {
			return ErrTokenUnknown
		}
		if own >= MaxClientTokens {
			return ErrTokensTooMany
		}
		l, err := e.line()
		if err != nil {
			return err
		}
		f.lines = append(keep, l)
		if of, all := f.size(o.Tenant), f.size(""); o.Tenant != "" && of > maxTokenFile-(all-len(l.raw)) {
			return ErrTokensShare
		}
		return nil
	})
	return e, err
}

// size returns the bytes of the lines about clients whose ids begin with a prefix; "" =
// of all lines.
func (f *tokenFile) size(prefix string) (n int) {
	for _, l := range f.lines {
		if prefix == "" || l.entry != nil && strings.HasPrefix(l.entry.Client, prefix) {
			n += len(l.raw) + 1
		}
	}
	return n
}

// RevokeTokens removes the matching entries from a token file and returns them.
// Without a match it returns none and does not change the file. Errors: ErrBusy,
// ErrNotDurable.
func RevokeTokens(name string, match func(*TokenEntry) bool) (revoked []TokenEntry, err error) {
	err = editTokens(name, false, func(f *tokenFile) error {
		var keep []tokenLine
		for _, l := range f.lines {
			if l.entry != nil && match(l.entry) {
				revoked = append(revoked, *l.entry)
				continue
			}
			keep = append(keep, l)
		}
		f.lines = keep
		if len(revoked) == 0 {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil, nil
	}
	return revoked, err
}

var errUnchanged = errors.New("nothing to change")

// editTokens replaces a token file by the result of change.
func editTokens(name string, create bool, change func(*tokenFile) error) error {
	e, err := beginEdit(name)
	if err != nil {
		return err
	}
	defer e.Release()
	f, err := e.read(create)
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	return e.commit(f)
}

// tokenEdit writes a new file beside the old one, syncs it and renames it over the
// old one. A reader sees either version. The new file, NAME.new, also excludes a second
// editor.
type tokenEdit struct {
	name string
	*private.Claim
}

// ErrBusy is the error of an edit during another one.
var ErrBusy = errors.New("another process is changing")

func beginEdit(name string) (*tokenEdit, error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // so that a symbolic link stays one
	}
	if err := private.TrustedDir(filepath.Dir(name)); err != nil {
		return nil, err
	}
	fresh, err := private.NewClaim(name + ".new")
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w %s; if it has died, remove %s.new", ErrBusy, name, name)
	}
	if err != nil {
		return nil, err
	}
	return &tokenEdit{name, fresh}, nil
}

const tokenFileHead = `# Tokens of devices, one JSON object a line; see "longwire devices token --help". It contains no token.`

// read returns the old file. The new file gets its mode and owner.
func (e *tokenEdit) read(create bool) (*tokenFile, error) {
	f, err := readTokenFile(e.name)
	if errors.Is(err, fs.ErrNotExist) && create {
		return &tokenFile{lines: []tokenLine{{raw: []byte(tokenFileHead)}}}, nil
	}
	if err != nil {
		return nil, err
	}
	old, err := os.Stat(e.name)
	if err != nil {
		return nil, err
	}
	if err := e.Chmod(old.Mode().Perm()); err != nil {
		return nil, err
	}
	if err := private.KeepOwner(e.File, old); err != nil {
		return nil, fmt.Errorf("keep the owner of %s: %w", e.name, err)
	}
	return f, nil
}

// commit puts f in the place of the old file, durably.
func (e *tokenEdit) commit(f *tokenFile) error {
	var b bytes.Buffer
	for _, l := range f.lines {
		b.Write(l.raw)
		b.WriteByte('\n')
	}
	if b.Len() > maxTokenFile {
		return fmt.Errorf("%w: %s would be larger than %d bytes", ErrTokensFull, e.name, maxTokenFile)
	}
	if _, err := e.Write(b.Bytes()); err != nil {
		return err
	}
	if err := e.Replace(e.name); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(e.name)); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil
}

var syncDir = private.SyncDir // except in tests

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/private"
)

// listers has, by the name of a file in a backup, what returns one line for each of its
// entries.
var listers = map[string]func(file string) ([]string, error){"api-keys.json": listKeys, "device-tokens": listTokens}

func listKeys(file string) (all []string, err error) {
	ks, err := apikey.Open(file, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	for _, k := range ks.List() {
		all = append(all, "API key "+k.ID+" "+k.Name)
	}
	return all, nil
}

func listTokens(file string) (all []string, err error) {
	tokens, err := deviceauth.ReadTokens(file)
	for i := range tokens {
		all = append(all, "device token "+tokens[i].ID()+" of "+tokens[i].Client+tokens[i].Pattern)
	}
	return all, err
}

// checkCredentials reports the files of credentials in a directory that a gateway, or a
// restore, could not read.
func checkCredentials(dir string, r *engine.Report) {
	for name, list := range listers {
		if _, err := list(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem("%v", err)
		}
	}
}

// restoreCredentials copies the files of a backup to their places. It replaces a
// file in use only if with is set, because the backup would make keys valid that
// were revoked later. It lists the entries that become valid again.
func (e *environ) restoreCredentials(cfg *config.Config, backup string, with bool) error {
	for _, c := range cfg.Credentials() {
		saved := filepath.Join(backup, c.Copied)
		b, err := os.ReadFile(saved)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		now, err := os.ReadFile(c.File)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err = e.listValidAgain(c, saved, nil); err == nil {
				err = private.Write(c.File, b)
			}
		case err == nil && !bytes.Equal(now, b) && with:
			err = e.replaceCredential(cfg, c, saved, b)
		case err == nil && !bytes.Equal(now, b):
			_, err = fmt.Fprintf(e.err, "%s is unchanged; --with-keys restores the one of the backup\n", printable(c.File))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listValidAgain lists the entries of the saved file that are not valid before.
func (e *environ) listValidAgain(c config.Credential, saved string, before []string) error {
	after, err := listers[c.Copied](saved)
	for _, one := range after {
		if !slices.Contains(before, one) {
			fmt.Fprintf(e.err, "valid again: %s\n", printable(strings.TrimSpace(one)))
		}
	}
	return err
}

// replaceCredential moves the file in use aside and writes b, the content of the
// saved file, in its place.
func (e *environ) replaceCredential(cfg *config.Config, c config.Credential, saved string, b []byte) error {
	before, err := listers[c.Copied](c.File)
	if err != nil {
		return err
	}
	if err := e.listValidAgain(c, saved, before); err != nil {
		return err
	}
	aside := filepath.Join(cfg.Data.Dir, "quarantine")
	if err := private.MakeDirs(aside); err != nil {
		return err
	}
	for n := 1; ; n++ {
		kept := filepath.Join(aside, fmt.Sprintf("%s.%d", filepath.Base(c.File), n))
		if _, err := os.Lstat(kept); err == nil {
			continue
		}
		if err := os.Rename(c.File, kept); err != nil {
			return err
		}
		return private.Write(c.File, b)
	}
}

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
	"github.com/longwire/longwire/internal/private"
)

// credential is a file beside a store that lists API keys or device tokens.
type credential struct {
	file   string // the file that the gateway uses
	copied string // its name in a backup
	// list returns one line for each entry of a file.
	list func(file string) ([]string, error)
}

func credentialsOf(cfg *config.Config) []credential {
	all := []credential{{cfg.APIKeyFile(), "api-keys.json", listKeys}}
	if cfg.Auth.DeviceTokensFile != "" {
		all = append(all, credential{cfg.Auth.DeviceTokensFile, "device-tokens", listTokens})
	}
	return all
}

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

// copyCredentials copies the files in use into a backup.
func copyCredentials(cfg *config.Config, backup string) error {
	for _, c := range credentialsOf(cfg) {
		b, err := os.ReadFile(c.file)
		if err == nil {
			err = writePrivate(filepath.Join(backup, c.copied), b)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// restoreCredentials copies the files of a backup to their places. It replaces a
// file in use only if with is set, because the backup would make keys valid that
// were revoked later. It lists the entries that become valid again.
func (e *environ) restoreCredentials(cfg *config.Config, backup string, with bool) error {
	for _, c := range credentialsOf(cfg) {
		saved := filepath.Join(backup, c.copied)
		b, err := os.ReadFile(saved)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		now, err := os.ReadFile(c.file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err = e.listValidAgain(c, saved, nil); err == nil {
				err = writePrivate(c.file, b)
			}
		case err == nil && !bytes.Equal(now, b) && with:
			err = e.replaceCredential(cfg, c, saved, b)
		case err == nil && !bytes.Equal(now, b):
			_, err = fmt.Fprintf(e.err, "%s is unchanged; --with-keys restores the one of the backup\n", printable(c.file))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listValidAgain lists the entries of the saved file that are not valid before.
func (e *environ) listValidAgain(c credential, saved string, before []string) error {
	after, err := c.list(saved)
	for _, one := range after {
		if !slices.Contains(before, one) {
			fmt.Fprintf(e.err, "valid again: %s\n", printable(strings.TrimSpace(one)))
		}
	}
	return err
}

// replaceCredential moves the file in use aside and writes b, the content of the
// saved file, in its place.
func (e *environ) replaceCredential(cfg *config.Config, c credential, saved string, b []byte) error {
	before, err := c.list(c.file)
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
		kept := filepath.Join(aside, fmt.Sprintf("%s.%d", filepath.Base(c.file), n))
		if _, err := os.Lstat(kept); err == nil {
			continue
		}
		if err := os.Rename(c.file, kept); err != nil {
			return err
		}
		return writePrivate(c.file, b)
	}
}

// writePrivate writes a file for its owner alone, durably.
func writePrivate(name string, b []byte) error {
	f, err := private.MakeFile(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/longwire/longwire/internal/private"
)

// Credential is a file of API keys or device tokens.
type Credential struct {
	File   string // in use
	Copied string // its name in a backup
}

// Credentials lists the files that a backup has besides the store.
func (c *Config) Credentials() []Credential {
	all := []Credential{{c.APIKeyFile(), "api-keys.json"}}
	if c.Auth.DeviceTokensFile != "" {
		all = append(all, Credential{c.Auth.DeviceTokensFile, "device-tokens"})
	}
	return all
}

// BackUpCredentials copies those that exist into a backup, which is verified later.
func (c *Config) BackUpCredentials(backup string) error {
	for _, one := range c.Credentials() {
		if info, err := os.Stat(one.File); err == nil && !info.Mode().IsRegular() { // a named pipe would not open
			return fmt.Errorf("%s is not a regular file", one.File)
		}
		b, err := os.ReadFile(one.File)
		if err == nil {
			err = private.Write(filepath.Join(backup, one.Copied), b)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

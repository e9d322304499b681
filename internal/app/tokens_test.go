package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/auth/deviceauth"
)

// A token that is made by HTTP admits its device at once, one that is revoked ends the
// device's connection, and the command line sees the same file.
func TestDeviceTokensByHTTP(t *testing.T) {
	cfg := testConfig(t.TempDir())
	file := filepath.Join(t.TempDir(), "tokens")
	if err := deviceauth.AddToken(file, deviceauth.TokenEntry{Pattern: "other-*", SHA256: strings.Repeat("0", 64)}); err != nil {
		t.Fatal(err)
	}
	cfg.Auth.DeviceTokensFile = file
	a := start(t, cfg)
	c := backend(t, a)
	made, err := c.CreateDeviceToken(t.Context(), "meter-7", client.NewDeviceToken{Note: "rack 3"})
	if err != nil || made.Token == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	online := func() bool { info, err := c.Client(t.Context(), "meter-7"); return err == nil && info.Online }
	d, err := device.New(device.Config{Addr: a.TCPAddr().String(), ID: "meter-7", Token: made.Token})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	running.Go(func() { d.Run(ctx) })
	waitFor(t, online)
	list, err := deviceauth.ReadTokens(file)
	if err != nil || len(list) != 2 || list[1].ID() != made.ID || list[1].Note != "rack 3" {
		t.Fatalf("the file has %+v, %v", list, err)
	}
	next, err := c.CreateDeviceToken(t.Context(), "meter-7", client.NewDeviceToken{Replaces: made.ID})
	if err != nil || next.Note != "rack 3" {
		t.Fatalf("%+v, %v", next, err)
	}
	waitFor(t, func() bool { return !online() })
	if err := c.RevokeDeviceToken(t.Context(), "meter-7", next.ID); err != nil {
		t.Fatal(err)
	}
	left, err := c.DeviceTokens(t.Context(), "meter-7")
	if err != nil || len(left) != 0 {
		t.Errorf("left %+v, %v", left, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
}

// noTokens returns a file of tokens without one.
func noTokens(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A device token lives for at least as long as its maker has asked for.
func TestADeviceTokenDoesNotEndEarly(t *testing.T) {
	s := &tokenStore{file: noTokens(t), reload: func() {}}
	now := time.Date(2026, time.November, 30, 21, 50, 48, 999_000_000, time.UTC)
	made, _, err := s.IssueToken(api.StoredToken{Client: "a", CreatedAt: now, ExpiresAt: now.Add(time.Second)}, "")
	if got := made.ExpiresAt.Sub(now); err != nil || got < time.Second || got >= 2*time.Second {
		t.Errorf("a token for a second ends after %v, %v", got, err)
	}
}

// Edits by HTTP and by the command line at one time lose nothing.
func TestDeviceTokensOfTwoEditors(t *testing.T) {
	file := noTokens(t)
	s := &tokenStore{file: file, reload: func() {}}
	var editors sync.WaitGroup
	for i := range 10 {
		editors.Go(func() {
			if _, err := s.Tokens("none"); err != nil {
				t.Error(err)
			}
			if _, _, err := s.IssueToken(api.StoredToken{Client: gateway.ClientID(fmt.Sprint("http-", i))}, ""); err != nil {
				t.Error(err)
			}
		})
		editors.Go(func() {
			e := deviceauth.TokenEntry{Client: fmt.Sprint("cli-", i), SHA256: fmt.Sprintf("%064x", i)}
			for deviceauth.AddToken(file, e) != nil { // as a person would, again
			}
		})
	}
	editors.Wait()
	list, err := deviceauth.ReadTokens(file)
	if err != nil || len(list) != 20 {
		t.Errorf("%d entries, %v, want 20", len(list), err)
	}
}

// The error of a full file does not say that the client has many tokens.
func TestAFullFileOfTokensIsCalledSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	s := &tokenStore{file: file, reload: func() {}}
	if err := os.WriteFile(file, []byte(strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", 64<<10)), 0o600); err != nil { // 64 MiB
		t.Fatal(err)
	}
	if _, _, err := s.IssueToken(api.StoredToken{Client: "a"}, ""); !errors.Is(err, api.ErrTooManyTokens) || !strings.Contains(err.Error(), "the file of tokens is full") {
		t.Errorf("the error is %v", err)
	}
}

// A change that the disk did not confirm is in the file, so it comes into force.
func TestATokenChangeThatIsNotConfirmedIsInForce(t *testing.T) {
	reloads := 0
	s := &tokenStore{reload: func() { reloads++ }}
	err := s.edit(func() error { return deviceauth.ErrNotDurable })
	if !errors.Is(err, api.ErrTokenUnconfirmed) || reloads != 1 {
		t.Errorf("%v, %d reloads; want %v, 1", err, reloads, api.ErrTokenUnconfirmed)
	}
	if err := s.edit(func() error { return errors.New("disk full") }); errors.Is(err, api.ErrTokenUnconfirmed) || reloads != 1 {
		t.Errorf("%v, %d reloads", err, reloads)
	}
}

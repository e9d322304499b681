package deviceauth

import (
	"time"

	"github.com/longwire/longwire/internal/watch"
)

// reloadEvery is the time between two looks at the files. It also bounds how long
// the gateway still accepts a revoked credential and keeps its connection.
const reloadEvery = 2 * time.Second

// watch adds the files to those that Reload looks at. The first one has the values that
// load reads; on an error load keeps the old ones.
func (a *Authenticator) watch(load func() error, names ...string) {
	if names[0] != "" {
		a.files = append(a.files, &watch.Files{Names: names, Load: load})
	}
}

// Start watches the files until Close.
func (a *Authenticator) Start() {
	if len(a.files) > 0 {
		a.running.Go(func() { watch.Every(a.ctx, reloadEvery, a.Reload) })
	}
}

// Reload looks at the files now. A broken file leaves its old values in force.
func (a *Authenticator) Reload() {
	a.reload.Lock()
	defer a.reload.Unlock()
	inForce := false
	for _, f := range a.files {
		loaded, err := f.Look()
		switch {
		case err != nil:
			a.stats.reloadErrors.Add(1)
			a.log.Error("cannot load a file of device credentials; its old content stays in force", "file", f.Names[0], "error", err)
		case loaded:
			a.stats.reloads.Add(1)
			inForce = true
		}
	}
	a.warnStale()
	if inForce && a.cfg.Changed != nil {
		a.cfg.Changed()
	}
}

// warnStale logs once that a list of revoked certificates has passed its time.
func (a *Authenticator) warnStale() {
	if !a.stale.IsZero() && a.stale.Before(a.cfg.Now()) {
		a.log.Warn("a list of revoked certificates is older than its authority allows; it stays in force", "file", a.cfg.RevokedFile, "next_update", a.stale)
		a.stale = time.Time{}
	}
}

// Close ends the watch and the calls to the hook, and waits for both.
func (a *Authenticator) Close() {
	a.stop()
	a.running.Wait()
	if a.hook != nil {
		a.hook.client.CloseIdleConnections()
	}
}

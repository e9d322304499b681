package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// adminSocket is the name of a Unix-domain socket in the data directory. It serves
// HTTP to the holder of that directory, for example to request an online backup.
// Its mode, 0600, is the only access control; the network cannot reach it.
const adminSocket = "admin.sock"

// maxAdminBody bounds a request in bytes: a path and the JSON around it.
const maxAdminBody = 16 << 10

// backuper is a store that can be copied while it serves writes.
type backuper interface {
	Backup(ctx context.Context, dir string, beside func() error) error
}

// admin serves the admin socket.
type admin struct {
	store gateway.Store
	log   *slog.Logger
	ln    net.Listener
	http  *http.Server
	mux   *http.ServeMux // complete before start
	clock *clockWatch
	// credentials copies the files beside the store into a backup.
	credentials func(backup string) error

	serving sync.WaitGroup
	ending  context.Context // ends with close, and with it the calls
	end     context.CancelFunc
	calls   sync.RWMutex // held for reading during a call
	busy    sync.Mutex   // held during a backup: one at a time
}

// adminPatience is how long the end of the process waits for calls before it cuts off
// their callers.
const adminPatience = 2 * time.Second

// listenAdmin opens the socket in the data directory. This process holds the
// directory, so a killed process left any socket that already exists.
func listenAdmin(store gateway.Store, dir string, credentials func(backup string) error, clock *clockWatch, log *slog.Logger) (*admin, error) {
	path := filepath.Join(dir, adminSocket) // as it is: the system bounds its length to about 100 bytes
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := listenPrivate(path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("%w: its path has %d bytes, more than the system allows: give data.dir a shorter one", err, len(path))
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	a := &admin{store: store, credentials: credentials, clock: clock, log: log, ln: ln, mux: http.NewServeMux()}
	a.ending, a.end = context.WithCancel(context.Background())
	a.mux.HandleFunc("GET /stats", a.stats)
	a.mux.HandleFunc("POST /backup", a.backup)
	a.http = &http.Server{Handler: http.HandlerFunc(a.serve), ReadTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), BaseContext: func(net.Listener) context.Context { return a.ending }}
	return a, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() || info.IsDir() {
		return fmt.Errorf("%s is not a socket; move it away", path)
	}
	return os.Remove(path)
}

// start serves on a goroutine. close ends it and waits for it.
func (a *admin) start() {
	a.serving.Go(func() {
		if err := a.http.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) {
			a.log.Warn("the admin socket has failed", "cause", err)
		}
	})
}

// serve makes one call, unless close has begun.
func (a *admin) serve(w http.ResponseWriter, r *http.Request) {
	a.calls.RLock()
	defer a.calls.RUnlock()
	if a.ending.Err() != nil {
		answer(w, http.StatusServiceUnavailable, adminError{"the process is stopping"})
		return
	}
	a.mux.ServeHTTP(w, r)
}

// close removes the socket and ends a backup under way. It waits for the calls, so that
// nothing closes the store and the audit log beneath them.
func (a *admin) close() {
	a.end()
	ctx, cancel := context.WithTimeout(context.Background(), adminPatience)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		_ = a.http.Close()
	}
	_ = a.ln.Close() // if start was not called
	a.serving.Wait()
	a.calls.Lock()
	defer a.calls.Unlock()
}

// storeStats is the answer to GET /stats.
type storeStats struct {
	Log       gateway.LogID `json:"log"`
	Engine    string        `json:"engine"`
	Health    string        `json:"health"` // "ok", or why the store accepts no message
	Clients   int           `json:"clients"`
	Messages  int           `json:"messages"`
	Queued    int           `json:"queued"`
	OldestAt  time.Time     `json:"oldest_at,omitzero"`
	DiskBytes int64         `json:"disk_bytes"`
	Clock     clockReport   `json:"clock"`
}

func (a *admin) stats(w http.ResponseWriter, _ *http.Request) {
	s := a.store.Stats()
	out := storeStats{Log: a.store.Log(), Engine: s.Engine, Health: "ok", Clients: s.Clients, Messages: s.Messages,
		Queued: s.Queued, OldestAt: s.OldestAt, DiskBytes: s.DiskBytes, Clock: a.clock.report()}
	if err := a.store.Health(); err != nil {
		out.Health = err.Error()
	}
	answer(w, http.StatusOK, out)
}

// backupRequest is the body of POST /backup.
type backupRequest struct {
	Dir string `json:"dir"` // absolute, as this process sees it; must not exist
}

type backupAnswer struct {
	Dir  string        `json:"dir"`
	Log  gateway.LogID `json:"log"`
	Took float64       `json:"took_ms"`
}

type adminError struct {
	Error string `json:"error"`
}

// backup copies the store while the store serves writes. The copy ends early if the
// caller leaves or the process stops: it is complete or it does not exist.
func (a *admin) backup(w http.ResponseWriter, r *http.Request) {
	var q backupRequest
	if !readBody(w, r, &q) {
		return
	}
	if !filepath.IsAbs(q.Dir) {
		answer(w, http.StatusBadRequest, adminError{fmt.Sprintf("dir %q is not an absolute path", q.Dir)})
		return
	}
	b, ok := a.store.(backuper)
	if !ok {
		answer(w, http.StatusConflict, adminError{"this store cannot be copied"})
		return
	}
	if !a.busy.TryLock() {
		answer(w, http.StatusConflict, adminError{"another backup is under way"})
		return
	}
	defer a.busy.Unlock()
	// The server's read deadline is for the request. If it passed during the
	// backup, the caller would seem to have left.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	begun := time.Now()
	if err := b.Backup(r.Context(), q.Dir, func() error { return a.credentials(q.Dir) }); err != nil {
		a.log.Error("backup", "dir", q.Dir, "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, engine.ErrPlace) {
			status = http.StatusBadRequest
		}
		answer(w, status, adminError{err.Error()})
		return
	}
	took := time.Since(begun)
	a.log.Info("backup", "dir", q.Dir, "took", took)
	answer(w, http.StatusOK, backupAnswer{Dir: q.Dir, Log: a.store.Log(), Took: float64(took.Microseconds()) / 1000})
}

// readBody reads the body of a call. It answers one that is wrong, and returns false.
func readBody(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		answer(w, http.StatusBadRequest, adminError{"body: " + err.Error()})
	}
	return err == nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has left
}

// openAdmin opens the socket of a store on disk; the callers must be open. If that fails,
// the gateway works without online backups.
func (a *App) openAdmin() {
	if _, ok := a.store.(backuper); !ok {
		return
	}
	adm, err := listenAdmin(a.store, a.cfg.Data.Dir, a.cfg.BackUpCredentials, &a.jumps, a.log)
	if err != nil {
		a.log.Warn("no admin socket: online backups are not possible", "cause", err)
		return
	}
	adm.serveKeys(a.callers.keys, a.callers.audit, a.now, func() []string { return a.webhooks.Stopped() })
	adm.serveProfiles()
	a.admin = adm
	a.opened.addQuiet("admin socket", adm.close)
}

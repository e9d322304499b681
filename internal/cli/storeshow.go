package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/longwire/longwire/internal/engine"
)

// storeReport is the JSON output of verify.
type storeReport struct {
	Dir        string   `json:"dir"`
	OK         bool     `json:"ok"`
	Log        string   `json:"log,omitempty"`
	Position   uint64   `json:"position"`
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`
	Rows       int      `json:"rows"`
	Clients    int      `json:"clients"`
	Messages   int      `json:"messages"`
	Queued     int      `json:"queued"`
	Uplinks    int      `json:"uplinks"`
	Keys       int      `json:"idempotency_keys"`
	Broadcasts int      `json:"broadcasts_pending"`
	Problems   []string `json:"problems"` // the first problems
	Count      int      `json:"problem_count"`
}

func (e *environ) showReport(dir string, r *engine.Report) error {
	if e.json() {
		return e.printJSON(storeReport{Dir: dir, OK: r.OK(), Log: string(r.Log), Position: r.Position, Files: r.Files,
			Bytes: r.Bytes, Rows: r.Rows, Clients: r.Clients, Messages: r.Messages, Queued: r.Queued, Uplinks: r.Uplinks,
			Keys: r.Keys, Broadcasts: r.Broadcasts, Problems: append([]string{}, r.Problems...), Count: r.Count})
	}
	verdict := "ok"
	if !r.OK() {
		verdict = "bad"
	}
	err := e.facts(nil,
		"store", dir,
		"verified", verdict,
		"log", string(r.Log),
		"files", fmt.Sprintf("%d read to the end, %s", r.Files, bytesize(uint64(r.Bytes))),
		"rows", fmt.Sprintf("%d, their checksums and how they agree", r.Rows),
		"messages", fmt.Sprintf("%d, with %d deliveries queued", r.Messages, r.Queued),
		"clients", count(r.Clients),
		"uplinks", count(r.Uplinks),
		"keys", fmt.Sprintf("%d idempotency keys", r.Keys),
		"last record", fmt.Sprint(r.Position),
		"problems", count(r.Count),
	)
	for _, p := range r.Problems {
		if err == nil {
			_, err = fmt.Fprintf(e.out, "  %s\n", printable(p))
		}
	}
	if more := r.Count - len(r.Problems); more > 0 && err == nil {
		_, err = fmt.Fprintf(e.out, "  and %d more\n", more)
	}
	return err
}

// storeStats is the JSON output of stats. Only a running gateway gives the fields
// of the lower part.
type storeStats struct {
	Dir     string `json:"dir"`
	Running bool   `json:"running"`

	Log       string    `json:"log,omitempty"`    // of a running gateway
	Health    string    `json:"health,omitempty"` // of a running gateway
	Clients   int       `json:"clients"`
	Messages  int       `json:"messages"`
	Queued    int       `json:"queued"`
	OldestAt  time.Time `json:"oldest_at,omitzero"`
	DiskBytes int64     `json:"disk_bytes"`
}

func (e *environ) showStats(s storeStats) error {
	holder := "no gateway; read from disk"
	if s.Running {
		holder = "a running gateway"
	}
	return e.facts(s,
		"store", s.Dir,
		"held by", holder,
		"log", s.Log,
		"health", s.Health,
		"clients", count(s.Clients),
		"messages", count(s.Messages),
		"queued", count(s.Queued)+" deliveries",
		"oldest queued", ago(s.OldestAt, time.Now()),
		"on disk", bytesize(uint64(s.DiskBytes)),
	)
}

// showPlace shows the place of a backup that was not verified.
func (e *environ) showPlace(dir string) error {
	return e.facts(map[string]string{"dir": dir}, "store", dir, "verified", "no")
}

// quarantined lists the files that repairs have moved aside.
func quarantined(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, f := range entries {
		names = append(names, f.Name())
	}
	return names, err
}

// showQuarantined shows the files that this repair has moved aside: those in after
// that are not in before.
func (e *environ) showQuarantined(dir string, before, after []string) error {
	var added []string
	for _, name := range after {
		if !slices.Contains(before, name) {
			added = append(added, filepath.Join(dir, "quarantine", name))
		}
	}
	if e.json() {
		return e.printJSON(map[string][]string{"quarantined": append([]string{}, added...)})
	}
	if len(added) == 0 {
		return e.facts(nil, "repaired", "nothing: the store is sound")
	}
	for _, name := range added {
		if err := e.facts(nil, "quarantined", name); err != nil {
			return err
		}
	}
	return nil
}

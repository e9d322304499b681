//go:build unix

package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// The successor of a sealed database removes logs: that is no loss.
func TestASealedDatabaseMissesNoLog(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		o := &Options{Dir: t.TempDir(), FS: OwnersFS(), Logger: slog.New(slog.DiscardHandler)}
		db, err := openDatabase(o.dbDir(), o, openCreate, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.DB.Close()
		if err := db.DB.Set([]byte("key"), nil, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if sealed {
			db.Seal(errors.New("a write failed"))
		}
		logs, err := filepath.Glob(filepath.Join(o.dbDir(), "*.log"))
		if err != nil || len(logs) != 1 {
			t.Fatalf("logs %v, %v", logs, err)
		}
		if err := os.Remove(logs[0]); err != nil {
			t.Fatal(err)
		}
		if lost := db.LostLogs(); (len(lost) == 0) != sealed {
			t.Errorf("sealed %v: the lost logs are %v", sealed, lost)
		}
	}
}

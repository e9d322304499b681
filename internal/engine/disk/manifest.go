package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	pebblerecord "github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/engine/record"
)

// Pebble finds its manifest by the name of an empty file:
//
//	marker.manifest.<iteration>.<manifest>
//
// The highest iteration counts. A crash may leave an older one beside it, because
// a move of the marker makes the new file before it removes the old one. Without
// a marker Pebble takes the directory for a new database, and deletes the tables.
const (
	markerManifest = "marker.manifest."
	markerFormat   = "marker.format-version."
)

// findManifest returns the path of the manifest that Pebble will read. It refuses
// a database that lacks it, or a marker.
func findManifest(o *Options) (string, error) {
	names, err := o.FS.List(o.dbDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	manifest := newestMarker(names, markerManifest)
	rebuild := fmt.Sprintf(`run "longwire store repair --rebuild-marker --data-dir %s", or restore a backup`, o.Dir)
	found := fmt.Sprintf("%d files, the manifests among them: %s", len(names), orNone(manifestsOf(names)))
	switch {
	case len(manifestsOf(names)) == 0:
		return "", &RefusalError{File: o.dbDir(), Found: found, Missing: "a manifest", Remedy: "restore a backup"}
	case manifest == "":
		return "", &RefusalError{File: o.dbDir(), Found: found, Missing: markerManifest + "*", Remedy: rebuild}
	case newestMarker(names, markerFormat) == "":
		return "", &RefusalError{File: o.dbDir(), Found: found, Missing: markerFormat + "*", Remedy: rebuild}
	}
	path := o.FS.PathJoin(o.dbDir(), manifest)
	ok, err := exists(o.FS, path)
	if err == nil && !ok {
		err = &RefusalError{File: path, Found: found, Missing: manifest + ", which a marker names", Remedy: "restore a backup"}
	}
	return path, err
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// manifestsOf returns the names of manifests in their order.
func manifestsOf(names []string) (all []string) {
	for _, n := range names {
		if strings.HasPrefix(n, "MANIFEST-") {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) })
	return all
}

// newestMarker returns the value of the marker with the highest iteration, ""
// if there is none.
func newestMarker(names []string, prefix string) (value string) {
	newest := uint64(0)
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		iter, v, ok2 := strings.Cut(rest, ".")
		n, err := strconv.ParseUint(iter, 10, 64)
		if ok && ok2 && err == nil && (value == "" || n > newest) {
			newest, value = n, v
		}
	}
	return value
}

// oldestLog returns the number of the oldest log that the manifest needs. A
// record of the manifest is a list of fields, each with a tag; the log number is
// among the first. Pebble finds damage later.
func oldestLog(fs vfs.FS, manifest string) (oldest uint32, err error) {
	f, err := fs.Open(manifest, vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := pebblerecord.NewReader(f, 0)
	for {
		rec, err := r.Next()
		var b []byte
		if err == nil {
			b, err = io.ReadAll(rec)
		}
		if errors.Is(err, io.EOF) || pebblerecord.IsInvalidRecord(err) {
			return oldest, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", manifest, err)
		}
		if n := logOfEdit(b); n > 0 {
			oldest = n
		}
	}
}

// logOfEdit returns the log number of a manifest's record, 0 for none.
func logOfEdit(b []byte) uint32 {
	const tagComparator, tagLogNumber = 1, 2
	d := record.Decoder{Rest: b}
	tag := d.Uint()
	if tag == tagComparator {
		_ = d.Bytes()
		tag = d.Uint()
	}
	if n := d.Uint(); tag == tagLogNumber && d.Err == nil {
		return uint32(n)
	}
	return 0
}

// RebuildMarker writes the markers of a database that has lost one. It takes the
// newest manifest by which the store is whole: all files that the manifest names
// exist with their sizes, and nothing is missing that MARK knows of.
func RebuildMarker(o *Options) (made []string, err error) {
	lock, err := lockDir(o)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	names, err := o.FS.List(o.dbDir())
	if err != nil {
		return nil, err
	}
	if newestMarker(names, markerFormat) == "" {
		made = append(made, fmt.Sprintf("%s000001.%s", markerFormat, databaseFormat))
	}
	candidates := []string{""}
	if newestMarker(names, markerManifest) == "" {
		candidates = manifestsOf(names)
	}
	err = &RefusalError{File: o.dbDir(), Found: "no manifest", Missing: "a manifest", Remedy: "restore a backup"}
	for _, manifest := range slices.Backward(candidates) {
		all := made
		if manifest != "" {
			all = append(slices.Clip(made), markerManifest+"000001."+manifest)
		}
		if err = tryMarkers(o, all); err == nil {
			return all, writeMarkers(o, all)
		}
	}
	return nil, fmt.Errorf("no marker makes this store whole, restore a backup: %w", err)
}

// tryMarkers judges the store as if the markers were there.
func tryMarkers(o *Options, markers []string) error {
	trial := *o
	trial.FS = &trialFS{FS: o.FS, dir: o.dbDir(), made: markers}
	s, _, err := Survey(&trial)
	if err != nil {
		return err
	}
	return s.DB.Close()
}

func writeMarkers(o *Options, markers []string) error {
	for _, name := range markers {
		if err := writeFile(o.FS, o.FS.PathJoin(o.dbDir(), name), nil); err != nil {
			return err
		}
	}
	return syncDir(o.FS, o.dbDir())
}

// databaseFormat is Pebble's format of the files.
const databaseFormat = pebble.FormatTableFormatV6

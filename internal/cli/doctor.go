package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/openfiles"
	"github.com/longwire/longwire/internal/private"
)

// finding is the result of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn, bad, or "" for a fact without a rating
	Value  string `json:"value"`
	Advice string `json:"advice,omitempty"`
	// devices is the number of devices that this check allows on the host; 0 = the
	// check sets no bound.
	devices uint64
}

// Bytes of memory per idle plain device, somewhat above the measured values
// (docs/bench): the process's share and the kernel's socket.
const (
	processBytesPerDevice = 2 << 10
	kernelBytesPerDevice  = 5 << 10
)

func (e *environ) doctorCommand() *cobra.Command {
	syncs, remote, asJSON := 0, false, false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this host's limits, clock and disk, and estimate how many devices it holds",
		Long: `Examine this host for a gateway: the file limit, kernel limits, memory, the clock,
how fast the disk of the data directory confirms a write, whether this version opens
the store in it, and which users can reach it and the files of the settings. Give the
settings as for "longwire serve". Exits with 1 if a check is bad; a warning does not
count.

With --remote the command examines nothing here: it prints the findings of a running
gateway, the worst first. Exits with 0 if there is none above info, with 3 on a
warning, with 4 on a critical finding, and with 1 if the gateway cannot be asked.

  longwire doctor --remote --server https://gateway.example:8080`,
		Args: cobra.NoArgs,
	}
	settings := e.dataFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if asJSON {
			e.format = "json"
		}
		if remote {
			api, err := e.api()
			if err != nil {
				return err
			}
			all, err := api.Findings(cmd.Context())
			if err != nil {
				return err
			}
			return e.showRemote(all)
		}
		if syncs < 1 || syncs > 10_000 {
			return usagef("--syncs %d: want 1 to 10000", syncs)
		}
		cfg, err := settings()
		if err != nil {
			return err
		}
		files := append(cfg.PrivateFiles(), deviceauth.Secrets(cfg.Auth.DeviceJWTKeys)...)
		h := host{proc: "/proc", dataDir: cfg.Data.Dir, minFree: uint64(cfg.Data.MinFree), maxDisk: uint64(cfg.Data.MaxDisk), private: files, syncs: syncs}
		return e.showFindings(h.examine())
	}
	countVar(cmd.Flags(), &syncs, "syncs", 100, "number of timed writes to the disk")
	cmd.Flags().BoolVar(&remote, "remote", false, "print the findings of a running gateway")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	e.outputFlag(cmd)
	return e.apiFlags(cmd)
}

// host is the machine that the doctor examines.
type host struct {
	proc    string // where procfs is mounted
	dataDir string
	minFree uint64 // bytes of free space below which the gateway accepts no message
	maxDisk uint64 // bytes of the store above which it accepts none, 0 for no bound
	private []private.Place
	syncs   int
}

func (h host) examine() []finding {
	dir, err := nearestDir(h.dataDir)
	all := h.limits()
	all = append(all, h.clock()...)
	all = append(all, h.gateway()...)
	all = append(all, h.privacy()...)
	if err != nil {
		return append(all, finding{Check: "data directory", Status: "bad", Value: err.Error(), Advice: "name another directory with --data-dir"})
	}
	if err := engine.Refused(engine.Options{Dir: h.dataDir}); err != nil {
		all = append(all, finding{Check: "store", Status: "bad", Value: err.Error(), Advice: "the gateway does not start with it"})
	}
	room, err := nearestDir(filepath.Join(h.dataDir, "db")) // it may be on another disk
	if err != nil {
		room = dir
	}
	all = append(all, h.freeSpace(room))
	if h.maxDisk > 0 {
		all = append(all, h.storeSize(room))
	}
	return append(all, h.diskSync(dir))
}

// readers has, by the kind of a private file, how the gateway reads it. A directory of keys
// passes private.Trusted also if a file in it does not.
var readers = map[string]func(name string) error{
	"API keys":      func(name string) error { _, err := apikey.Open(name, slog.New(slog.DiscardHandler)); return err },
	"device tokens": func(name string) error { _, err := deviceauth.ReadTokens(name); return err },
	"keys of signed device tokens": func(name string) error {
		_, err := deviceauth.LoadKeys(name)
		return err
	},
}

// privacy finds the private files that other users can reach, and those that the gateway
// refuses.
func (h host) privacy() (all []finding) {
	for _, p := range h.private {
		err := private.Trusted(p.Path)
		if read := readers[p.Kind]; err == nil && p.Path != "" && read != nil {
			if err = read(p.Path); errors.Is(err, fs.ErrNotExist) { // it may be made before the start
				err = nil
			}
		}
		if err != nil && p.Key {
			all = append(all, finding{Check: p.Kind, Status: "bad", Value: err.Error(), Advice: "the gateway refuses it"})
		}
	}
	for _, w := range private.Examine(h.private) {
		all = append(all, finding{Check: w.Kind, Status: "warn", Value: w.Value(), Advice: w.Mend})
	}
	if len(all) == 0 && private.HasModes {
		all = append(all, finding{Check: "private files", Status: "ok", Value: "only their owner can reach them"})
	}
	return all
}

// showFindings prints the findings and the number of devices. It returns errSilent
// if a finding is bad.
func (e *environ) showFindings(all []finding) error {
	err := showList(e, e.table("CHECK", "STATUS", "VALUE", "WHAT TO DO"), all, nil, func(f finding) []string {
		return []string{f.Check, f.Status, f.Value, f.Advice}
	})
	if err == nil {
		err = e.showCapacity(all)
	}
	if err == nil && slices.ContainsFunc(all, func(f finding) bool { return f.Status == "bad" }) {
		err = errSilent
	}
	return err
}

func (e *environ) showCapacity(all []finding) error {
	devices, limit := capacity(all)
	if e.json() {
		return e.printJSON(struct {
			Devices   uint64 `json:"devices"` // 0 = unknown
			LimitedBy string `json:"limited_by,omitempty"`
		}{devices, limit})
	}
	if devices == 0 {
		_, err := fmt.Fprintln(e.out, "\nThe number of devices that this host holds cannot be estimated on this system.")
		return err
	}
	_, err := fmt.Fprintf(e.out, "\nThis host holds about %s devices; the limit is: %s.\n", thousands(devices), limit)
	return err
}

// capacity returns the smallest bound, rounded down to two digits, and the check
// that sets it.
func capacity(all []finding) (devices uint64, limitedBy string) {
	devices = math.MaxUint64
	for _, f := range all {
		if f.devices > 0 && f.devices < devices {
			devices, limitedBy = f.devices, f.Check
		}
	}
	if limitedBy == "" {
		return 0, ""
	}
	step := uint64(1)
	for devices/step >= 100 {
		step *= 10
	}
	return devices / step * step, limitedBy
}

// nearestDir returns dir, or the nearest existing directory above it: the gateway
// will create a missing data directory on that disk.
func nearestDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = private.InTheWay(dir)
	}
	for err == nil {
		if _, err = os.Stat(dir); err == nil {
			return dir, nil
		}
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir, err = filepath.Dir(dir), nil
		}
	}
	return "", err
}

// Bounds of the time that a disk takes to confirm a write.
const (
	slowSync     = 50 * time.Millisecond // p99 above: batches are still fast, single pushes are slow
	uselessSync  = time.Second           // p99 above: callers time out
	unlikelySync = 15 * time.Microsecond // p50 below: no write reached a disk
)

// diskSync times small appended writes, each followed by fsync. A push waits that
// long for its 202.
func (h host) diskSync(dir string) finding {
	f := finding{Check: "disk sync"}
	took, err := timeSyncs(dir, h.syncs)
	if err != nil {
		f.Status, f.Value, f.Advice = "bad", err.Error(), "the gateway must be able to write there"
		return f
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[(len(took)*99)/100]
	f.Value = fmt.Sprintf("p50 %s, p99 %s of %d", brief(p50), brief(p99), len(took))
	switch {
	case p99 > uselessSync:
		f.Status, f.Advice = "bad", "this disk is too slow to confirm messages; use another for the data directory"
	case p50 < unlikelySync:
		f.Status, f.Advice = "warn", "too fast for a real disk (tmpfs?): data here does not survive power loss"
	case p99 > slowSync:
		f.Status, f.Advice = "warn", "each push waits for this; prefer a disk with power-loss protection"
	default:
		f.Status = "ok"
	}
	return f
}

// timeSyncs appends n blocks of 4 KiB to a temporary file in dir.
func timeSyncs(dir string, n int) (took []time.Duration, err error) {
	file, err := os.CreateTemp(dir, ".longwire-doctor-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 4096)
	for deadline := time.Now().Add(10 * time.Second); len(took) < n && (len(took) == 0 || time.Now().Before(deadline)); {
		start := time.Now()
		if _, err := file.Write(block); err != nil {
			return nil, err
		}
		if err := file.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// fineFree is the free space in bytes below which the doctor warns. Below twice minFree
// the gateway takes no new clients.
const fineFree = 1 << 30

func (h host) freeSpace(dir string) finding {
	f := finding{Check: "free space", Status: "ok"}
	free, err := freeBytes(dir)
	if err != nil {
		f.Status, f.Value = "warn", "not known: "+err.Error()
		return f
	}
	f.Value = bytesize(free) + " in " + dir
	switch {
	case free < h.minFree:
		f.Status, f.Advice = "bad", "the gateway accepts no messages below "+bytesize(h.minFree)
	case free < max(fineFree, 2*h.minFree):
		f.Status, f.Advice = "warn", "room for few messages"
	}
	return f
}

// storeSize compares the store with data.max_disk. Above nine tenths of that the gateway
// takes no new clients.
func (h host) storeSize(dir string) finding {
	f := finding{Check: "size of the store", Status: "ok"}
	used, err := bytesIn(filepath.Join(h.dataDir, "db"))
	if err != nil {
		f.Status, f.Value = "warn", "not known: "+err.Error()
		return f
	}
	f.Value = bytesize(used) + " of " + bytesize(h.maxDisk)
	free, err := freeBytes(dir)
	switch {
	case used > h.maxDisk:
		f.Status, f.Advice = "bad", "the gateway accepts no messages: raise data.max_disk, or cancel old queues"
	case used > h.maxDisk/10*9:
		f.Status, f.Advice = "warn", "the gateway takes no new clients: raise data.max_disk, or cancel old queues"
	case err == nil && used+free < h.maxDisk:
		f.Status, f.Advice = "warn", "the disk is full before: lower data.max_disk"
	}
	return f
}

// bytesIn returns the size of the files in a directory, 0 without one.
func bytesIn(dir string) (sum uint64, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, file := range files {
		if info, err := file.Info(); err == nil && info.Mode().IsRegular() { // a running gateway removes files
			sum += uint64(info.Size())
		}
	}
	return sum, err
}

// fileLimit checks the limit of open files, which bounds the sockets of one process.
func fileLimit() finding {
	limit := openfiles.Limit()
	if limit == 0 {
		return finding{Check: "open files", Status: "ok", Value: "no limit per process"}
	}
	f := finding{Check: "open files", Status: "ok", Value: thousands(uint64(limit)), devices: uint64(openfiles.ForDevices(limit))}
	switch {
	case limit < 1024:
		f.Status, f.Advice = "bad", "raise it: ulimit -n 1048576, or LimitNOFILE= in the systemd unit"
	case limit < 65536:
		f.Status, f.Advice = "warn", "one per device: ulimit -n 1048576, or LimitNOFILE= in the systemd unit"
	}
	return f
}

// monotonic compares the wall clock with the monotonic one. If the wall clock is
// being set, expiry times are wrong.
func monotonic() finding {
	f := finding{Check: "clock", Status: "ok"}
	start := time.Now()
	time.Sleep(20 * time.Millisecond)
	end := time.Now()
	drift := end.Round(0).Sub(start.Round(0)) - end.Sub(start)
	f.Value = end.UTC().Format(time.RFC3339)
	if end.Year() < 2025 {
		f.Status, f.Advice = "bad", "the date is wrong: messages would expire at once or never"
	} else if drift.Abs() > 5*time.Millisecond {
		f.Status, f.Advice = "warn", fmt.Sprintf("it was set by %s during the check", drift)
	}
	return f
}

// gateway asks the process that holds the data directory, if there is one, for
// jumps of its clock.
func (h host) gateway() []finding {
	f := finding{Check: "clock of the gateway", Status: "ok", Value: "no jump of more than an hour since it started"}
	var stats struct {
		Clock struct {
			Jumps    int `json:"jumps"`
			LastJump struct {
				At      time.Time `json:"at"`
				Seconds float64   `json:"by_seconds"`
			} `json:"last_jump"`
		} `json:"clock"`
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	switch err := askHolder(ctx, h.dataDir, http.MethodGet, "/stats", nil, &stats); {
	case errors.Is(err, errNoHolder):
		return nil
	case err != nil:
		f.Status, f.Value, f.Advice = "warn", "not known: "+err.Error(), "does the gateway hang?"
	case stats.Clock.Jumps > 0:
		by := time.Duration(stats.Clock.LastJump.Seconds * float64(time.Second)).Round(time.Second)
		direction := "forwards"
		if by < 0 {
			direction = "backwards"
		}
		f.Status = "warn"
		f.Value = fmt.Sprintf("jumps of more than an hour: %d, the last %s by %s to %s",
			stats.Clock.Jumps, direction, by.Abs(), stats.Clock.LastJump.At.UTC().Format(time.RFC3339))
		f.Advice = "expiry and retention follow the clock: find the program that sets it or suspends the machine"
	}
	return []finding{f}
}

// number reads the n-th number of a file. It returns false if there is none.
func number(path string, n int) (uint64, bool) {
	b, err := readBounded(path, 64<<10)
	if err != nil {
		return 0, false
	}
	words := strings.Fields(string(b))
	if n >= len(words) {
		return 0, false
	}
	v, err := strconv.ParseUint(words[n], 10, 64)
	return v, err == nil
}

// brief returns a duration rounded to three digits.
func brief(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// thousands formats 1234567 as 1,234,567.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

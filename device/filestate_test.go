package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/protocol"
)

// aChange is the nth of a row of changes with everything in them.
func aChange(n uint64) Change {
	return Change{Saved: Saved{Log: "log_1", AskThrough: 10 * n, CompleteFrom: n, Holes: []uint64{1, 10*n - 1},
		Verdicts: []Verdict{{Seq: 10 * n, Code: protocol.AckReject, Result: fmt.Appendf(nil, "no %d\n\x00", n)}}}}
}

func sum(changes ...Change) (s Saved) {
	for _, c := range changes {
		s.Apply(c)
	}
	return s
}

func wantLoad(t *testing.T, path string, want Saved) {
	t.Helper()
	if got, err := (&FileState{Path: path}).Load(); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("loaded %+v, %v, want %+v", got, err, want)
	}
}

func TestFileStateRemembers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "valve.state")
	wantLoad(t, path, Saved{})
	s := &FileState{Path: path}
	var all []Change
	for n := uint64(1); n < 6; n++ {
		all = append(all, aChange(n))
		if err := s.Save(all[n-1]); err != nil {
			t.Fatal(err)
		}
		wantLoad(t, path, sum(all...))
		if n == 3 { // another process, which saves before it loads
			s = &FileState{Path: path}
		}
	}
	other := Change{Saved: Saved{Log: "log_2", AskThrough: 1<<64 - 1}}
	if err := s.Save(other); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, path, other.Saved)
	if err := s.Save(Change{Reset: true, Saved: Saved{Log: "log_2"}}); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, path, Saved{Log: "log_2"})
	if files, _ := os.ReadDir(dir); len(files) != 2 { // with the lock
		t.Errorf("files left behind: %v", files)
	}
}

// stateOfOthers has the path of a state in the environment of another process.
const stateOfOthers = "LONGWIRE_TEST_STATE"

// TestMain makes this binary the other process of TestAFileStateHasOneProcess, too. That says
// what a device, and a Save without a Load, get, and stays until its input ends.
func TestMain(m *testing.M) {
	path := os.Getenv(stateOfOthers)
	if path == "" {
		os.Exit(m.Run())
	}
	_, err := New(Config{Addr: "a", ID: "d", State: OpenFileState(path)})
	fmt.Printf("%v|%v\n", err, OpenFileState(path).Save(aChange(2)))
	io.Copy(io.Discard, os.Stdin)
}

func TestAFileStateHasOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "valve.state")
	start := func() (said string, end func()) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), stateOfOthers+"="+path)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the other process says %q, %v", line, err)
		}
		return strings.TrimSpace(line), func() {
			in.Close()
			io.Copy(io.Discard, r)
			cmd.Wait()
		}
	}
	said, end := start()
	if said != "<nil>|<nil>" {
		t.Errorf("the first process got %s, want no error", said)
	}
	inUse := path + ": in use by another process"
	if _, err := New(Config{Addr: "a", ID: "d", State: OpenFileState(path)}); err == nil || !strings.HasSuffix(err.Error(), inUse) {
		t.Errorf("New with the state of another process: %v, want %q", err, inUse)
	}
	if err := OpenFileState(path).Save(aChange(3)); err == nil || err.Error() != inUse {
		t.Errorf("Save to the state of another process: %v, want %q", err, inUse)
	}
	end()
	wantLoad(t, path, sum(aChange(2)))
	said, end = start()
	if strings.Count(said, "in use by another process") != 2 {
		t.Errorf("another process got %s while this one has the state, want two errors", said)
	}
	end()
}

// lines returns a file of some changes, the end of each line, and the state of
// the file up to there.
func lines(t *testing.T) (file []byte, ends []int, says []Saved) {
	t.Helper()
	s := &FileState{Path: filepath.Join(t.TempDir(), "state")}
	ends, says = []int{0}, []Saved{{}}
	var all []Change
	for n := uint64(1); n < 5; n++ {
		all = append(all, aChange(n))
		if err := s.Save(all[n-1]); err != nil {
			t.Fatal(err)
		}
		file, _ = os.ReadFile(s.Path)
		ends, says = append(ends, len(file)), append(says, sum(all...))
	}
	return file, ends, says
}

// A power cut leaves any prefix of the line being written, or zeros for a block
// that was not written. The lines before it survive, and the next Save repairs
// the file.
func TestFileStateAfterAPowerCut(t *testing.T) {
	file, ends, says := lines(t)
	path := filepath.Join(t.TempDir(), "state")
	last := 0
	for cut := ends[1]; cut <= len(file); cut++ { // the first line comes with a rename
		if last+1 < len(ends) && cut == ends[last+1] {
			last++
		}
		want := says[last]
		images := map[string][]byte{"cut": file[:cut]}
		if last+1 < len(ends) {
			end := ends[last+1]
			zeros := append(bytes.Clone(file[:cut]), make([]byte, end-cut)...)
			images["zeros from there"] = zeros
			if cut > ends[last] {
				images["zeros up to there"] = append(append(bytes.Clone(file[:ends[last]]), make([]byte, cut-ends[last])...), file[cut:end]...)
			}
		}
		for name, image := range images {
			if got, err := parseState(image); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, at byte %d: %+v, %v, want %+v", name, cut, got, err, want)
			}
		}
		if cut%13 > 0 {
			continue // the disk is slower
		}
		if err := os.WriteFile(path, file[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".tmp", []byte("half of a"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &FileState{Path: path}
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		for _, n := range []uint64{7, 8} {
			if err := s.Save(aChange(n)); err != nil {
				t.Fatal(err)
			}
			want.Apply(aChange(n))
		}
		wantLoad(t, path, want)
	}
}

// Damage is not taken for a power cut.
func TestFileStateDamaged(t *testing.T) {
	file, _, _ := lines(t)
	path := filepath.Join(t.TempDir(), "state")
	for at := range file {
		for bit := range 8 {
			image := bytes.Clone(file)
			image[at] ^= 1 << bit
			if bit == 5 && bytes.EqualFold(image, file) {
				continue // an upper case digit of a checksum means the same
			}
			if _, err := parseState(image); err == nil {
				t.Fatalf("bit %d of byte %d is wrong, and nothing is said of it", bit, at)
			}
		}
	}
	first, _, _ := strings.Cut(string(file), "\n")
	for _, bad := range []string{
		"", first[:1], first[:len(first)/2], first, first[:9] + strings.Repeat("\x00", 99),
		"\n", `{"log":"log_1","last_seq":7}` + "\n", strings.Repeat(" ", maxStateFile+1),
		string(file[:len(file)/2]) + "\n" + string(file), "\x00\n" + string(file),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &FileState{Path: path}
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: got %v, want an error that names the file", bad, err)
		}
		if err := s.Save(aChange(1)); err == nil {
			t.Errorf("%.20q: overwritten", bad)
		}
		if after, _ := os.ReadFile(path); string(after) != bad {
			t.Errorf("%.20q: changed to %.20q", bad, after)
		}
	}
	line, err := stateLine(Change{Saved: Saved{Log: "l", Verdicts: []Verdict{{Seq: 1, Code: protocol.AckWorking}}}})
	if _, bad := parseState(line); err != nil || bad == nil {
		t.Errorf("a verdict that is none: %v, %v", err, bad)
	}
}

// A link to a disk that is not mounted is no first start: the device would handle every
// delivery again.
func TestFileStateBehindALink(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "valve.state"), filepath.Join(dir, "disk")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := (&FileState{Path: path}).Load(); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("loaded from a link to nothing: %v", err)
	}
	if err := (&FileState{Path: target}).Save(aChange(1)); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, path, sum(aChange(1)))
}

// A Save that fails loses nothing, and the next one makes up for it.
func TestFileStateAfterAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mnt")
	path := filepath.Join(dir, "state")
	s := &FileState{Path: path}
	if err := s.Save(aChange(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("saved into a directory that does not exist: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	save := func(n uint64) {
		t.Helper()
		if err := s.Save(aChange(n)); err != nil {
			t.Fatal(err)
		}
	}
	save(2)
	wantLoad(t, path, sum(aChange(2))) // the Save of 1 returned an error
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	save(3)
	wantLoad(t, path, sum(aChange(2), aChange(3)))
	if err := os.WriteFile(path, []byte("not mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	save(4)
	wantLoad(t, path, sum(aChange(2), aChange(3), aChange(4)))
	save(4) // as after an error that leaves the file's content unknown
	wantLoad(t, path, sum(aChange(2), aChange(3), aChange(4)))
}

// The file stays small and has the content of a MemoryState.
func TestFileStateIsCompacted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		s := &FileState{Path: filepath.Join(dir, "state")}
		var memory MemoryState
		seq, length := uint64(0), rapid.IntRange(0, keptResult).Draw(rt, "length")
		for range rapid.IntRange(1, 30).Draw(rt, "saves") {
			c := Change{Reset: rapid.IntRange(0, 99).Draw(rt, "reset") == 0}
			for range rapid.IntRange(0, 40).Draw(rt, "verdicts") {
				seq++
				c.Verdicts = append(c.Verdicts, Verdict{Seq: seq, Result: make([]byte, length)})
			}
			c.Log, c.AskThrough = "log", seq
			if err := errors.Join(s.Save(c), memory.Save(c)); err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(s.Path); info.Size() != s.size || info.Size() > maxStateFile {
				t.Fatalf("%d bytes, thought to be %d", info.Size(), s.size)
			}
		}
		want, _ := memory.Load()
		got, err := (&FileState{Path: s.Path}).Load()
		if err != nil || len(got.Verdicts) != len(want.Verdicts) || got.AskThrough != want.AskThrough || got.CompleteFrom != want.CompleteFrom {
			t.Fatalf("loaded %d verdicts, %d, %d, %v; want %d, %d, %d", len(got.Verdicts), got.AskThrough, got.CompleteFrom, err,
				len(want.Verdicts), want.AskThrough, want.CompleteFrom)
		}
	})
}

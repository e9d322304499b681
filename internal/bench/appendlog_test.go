package bench

import (
	"bytes"
	"os"
	"sync"
	"testing"
)

func TestAppendLogHoldsWhatWasAppended(t *testing.T) {
	l, err := openAppendLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const callers, each = 16, 20
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for range each {
				if err := l.append(bytes.Repeat([]byte{byte(i + 1)}, 8)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	content, err := os.ReadFile(l.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[byte]int{}
	for i := 0; i+8 <= len(content) && content[i] != 0; i += 8 {
		counts[content[i]]++
		if !bytes.Equal(content[i:i+8], bytes.Repeat(content[i:i+1], 8)) {
			t.Fatalf("the record at %d is torn: %x", i, content[i:i+8])
		}
	}
	for i := range callers {
		if got := counts[byte(i+1)]; got != each {
			t.Errorf("%d records of caller %d, want %d", got, i, each)
		}
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if err := l.append([]byte("x")); err == nil {
		t.Error("an append to a closed file is no error")
	}
}

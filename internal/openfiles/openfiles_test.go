package openfiles

import "testing"

func TestFilesAreKeptForTheRest(t *testing.T) {
	for files, want := range map[int]int{0: 1, 1: 1, 256: 128, 1024: 512, 4096: 4096 - 768, 16384: 16384 - 2048, 20000: 20000 - 2048, 1 << 20: 1<<20 - 2048} {
		if got := ForDevices(files); got != want {
			t.Errorf("of %d files %d are for devices, want %d", files, got, want)
		}
	}
}

//go:build !linux

package bench

import (
	"os"
	"syscall"
	"time"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

func processCPU(int) time.Duration { return 0 }

func preciseSleep(d time.Duration) { time.Sleep(d) }

func preallocate(*os.File, int64) error { return nil }

func syncData(f *os.File) error { return f.Sync() }

//go:build !linux

package bench

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
)

var errNotHere = errors.New("memory and CPU time of another process are read on Linux only")

func dieWithParent() *syscall.SysProcAttr { return nil }

func processCPU(int) (time.Duration, error) { return 0, errNotHere }

func processRSS(int) (int64, error) { return 0, errNotHere }

func kernelMemory() int64 { return 0 }

func memoryTotal() int64 { return 0 }

func cpuModel() string { return "" }

func osVersion() string { return runtime.GOOS }

func loadAverage() float64 { return 0 }

func preallocate(*os.File, int64) error { return nil }

func syncData(f *os.File) error { return f.Sync() }

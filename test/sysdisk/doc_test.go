// Package sysdisk cuts the power of the real process. A scenario runs longwire
// under strace, which writes down every system call that changes the disk and
// every byte that leaves a socket. From this trace the test rebuilds the disk as
// a power cut at any moment may have left it: what was synced is there, and of the
// rest any part. Then the gateway is started on the rebuilt disk, and everything
// that it had told by the moment of the cut must be true.
//
// The disk (disk_test.go) allows more than most file systems do: unsynced data are
// there by pages or by sectors, each as it was at some moment since the last sync;
// a size is the old one or a new one, with zeros where the data are missing; a
// name that was made, moved or removed without a sync of its directory since is
// there or not, in any combination. An mmap that could change a file, and calls
// that the disk does not know, fail the test.
//
// The tests need Linux and strace. Where strace is missing or may not trace they
// are skipped, and with LONGWIRE_TEST_STRACE=required they fail.
//
// LONGWIRE_SYSDISK_BINARY names another gateway. LONGWIRE_TORTURE runs the long form and LONGWIRE_SYSDISK_CUTS sets the number of
// cuts. LONGWIRE_SYSDISK_SEED repeats the choices of a run (its trace is another
// one all the same). LONGWIRE_SYSDISK_KEEP names a directory for the trace and the
// rebuilt disk of the first violation of each scenario.
package sysdisk

package hostile

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/tcpserver"
)

// processVar names, in the environment of a process that alone has started, the
// test that it is for.
const processVar = "HOSTILE_TEST"

// itself is what a process says that runs its test.
const itself = "in a process of its own"

// atOnce is how many tests run side by side: attacks wait more than they work.
const atOnce = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// alone runs a test in a process of its own: what it finds of memory,
// goroutines and files then is its own, and tests may run side by side.
func alone(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	switch os.Getenv(processVar) {
	case t.Name():
		t.Log(itself)
		test(t)
	case "":
		t.Parallel()
		again(t)
	}
}

// again starts this binary for one test, and waits for it; the test's end kills
// it.
func again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.v", "-test.run=" + only(t.Name(), setting("run"))}
	for _, name := range []string{"skip", "short"} {
		args = append(args, "-test."+name+"="+setting(name))
	}
	if end, ok := t.Deadline(); ok { // one that hangs has to say where, before this process ends
		args = append(args, "-test.timeout="+max(time.Until(end)*9/10, time.Second).String())
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), processVar+"="+t.Name())
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !strings.Contains(string(out), itself):
		t.Errorf("the process has not run the test:\n%s", out)
	case testing.Verbose():
		t.Logf("%s", out)
	}
}

func setting(name string) string { return flag.Lookup("test." + name).Value.String() }

// only is the -run pattern for the process of one test: what was chosen, which
// may be some of its behaviours, else all of it.
func only(name, chosen string) string {
	if chosen != "" {
		return chosen // alone lets no other test run
	}
	return "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
}

// driver is how the gateways of this process drive plain connections of
// devices: tcp.driver.
var driver = tcpserver.DriverAuto

// onEachDriver runs a test of the device port once for each driver that there
// is on this system. Devices that speak TLS have no driver: alone is enough.
func onEachDriver(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	drivers := []tcpserver.Driver{tcpserver.DriverPortable}
	if runtime.GOOS == "linux" {
		drivers = append(drivers, tcpserver.DriverEpoll)
	}
	for _, d := range drivers {
		t.Run(string(d), func(t *testing.T) {
			alone(t, func(t *testing.T) {
				driver = d
				test(t)
			})
		})
	}
}

// wantDriver looks at what runs in this process: the driver that was asked for,
// and not the other one.
func (s *site) wantDriver() {
	s.Helper()
	if driver == tcpserver.DriverAuto {
		return
	}
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		s.Fatal(err)
	}
	if polled := strings.Contains(stacks.String(), "tcpserver.(*pollers)"); polled != (driver == tcpserver.DriverEpoll) {
		s.Fatalf("pollers run: %v, with the driver %s", polled, driver)
	}
}

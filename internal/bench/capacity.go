package bench

import (
	"fmt"
	"math"
)

// Capacity is what was measured of memory: from it follows how many clients a
// machine holds.
type Capacity struct {
	BaseRSS  int64   `json:"base_rss_bytes"`      // of the process without clients
	Plain    float64 `json:"plain_bytes"`         // of the process, for each idle client
	TLS      float64 `json:"tls_bytes"`           // the same with TLS
	Kernel   Figure  `json:"kernel_socket_bytes"` // outside of the process, for each socket; null = not known
	Measured int     `json:"measured_clients"`    // with so many
}

// kernelGuess stands in for the kernel's memory where it is not known: what
// Linux 6 was seen to take for an idle socket.
const kernelGuess = 5000

// systemShare of a machine's memory is left to the rest of the system and to
// what load adds.
const systemShare = 0.25

// machineSizes are shown in the table, in GiB.
var machineSizes = []int{1, 4, 16}

// holds is how many idle clients fit into a machine's memory, in bytes.
func (c *Capacity) holds(memory, each float64) int {
	kernel := float64(c.Kernel)
	if math.IsNaN(kernel) {
		kernel = kernelGuess
	}
	room := memory*(1-systemShare) - float64(c.BaseRSS)
	return max(0, int(room/(each+kernel)))
}

// table is the capacity of machines, in two digits.
func (c *Capacity) table() Table {
	t := Table{Of: "memory of the machine", Columns: []Column{{"idle clients, plain TCP", count}, {"idle clients, TLS", count}}}
	for _, size := range machineSizes {
		memory := float64(size) * (1 << 30)
		t.add(fmt.Sprintf("%d GiB", size), twoDigits(c.holds(memory, c.Plain)), twoDigits(c.holds(memory, c.TLS)))
	}
	return t
}

// twoDigits rounds down to two digits: more is not known.
func twoDigits(n int) float64 {
	if n < 100 {
		return float64(n)
	}
	unit := math.Pow(10, math.Floor(math.Log10(float64(n)))-1)
	return math.Floor(float64(n)/unit) * unit
}

// note says where the table comes from.
func (c *Capacity) note() string {
	kernel := bytesEach.text(float64(c.Kernel)) + " (measured)"
	if math.IsNaN(float64(c.Kernel)) {
		kernel = bytesEach.text(kernelGuess) + " (assumed)"
	}
	return fmt.Sprintf("Extrapolated, not measured: from %s (TLS %s) of the process for each of %s idle clients, %.0f MiB without any, and %s for a socket in the kernel. "+
		"A quarter of the memory is left to the system and to what load adds. Idle means that nothing is under way: a queue of messages is on disk, "+
		"but each client that is being pushed to takes more for that time.",
		bytesEach.text(c.Plain), bytesEach.text(c.TLS), thousands(float64(c.Measured)), mib(c.BaseRSS), kernel)
}

package archtest

// band is a layer of the program. A package imports packages of lower bands
// only: never up, and sideways only into rooms that its row names. Packages of one row
// are one component and may import each other.
type band int

const (
	ground    band = iota // between the leaves and the operating system
	leaves                // import nothing of the module
	core                  // the domain and the protocol, which do not import each other
	published             // imported by other people's programs
	filters               // what a reader of the domain may see
	services              // run in the background, over the domain
	edges                 // HTTP, TCP and adapters to the outside
	settings              // the one Config
	wiring                // puts the parts together
	entry                 // the binary
	tools                 // run by developers, never imported
	helpers               // imported by tests only
)

var bandNames = map[band]string{ground: "ground", leaves: "leaves", core: "core", published: "published", filters: "filters", services: "services", edges: "edges",
	settings: "settings", wiring: "wiring", entry: "entry", tools: "tools", helpers: "test helpers"}

// row places a package and all packages below it; the longest match wins.
type row struct {
	path string // below the module
	band band
	// only, if not nil, are the rows that this one may import, whatever their
	// band. "-" stands for none.
	only []string
	// stdlib forbids third-party packages, except those that the row owns.
	stdlib bool
	// never are packages of the standard library that the row must not import.
	never []string
	// room, when not "", is the row that this one is a room of: only that row and its
	// rooms may import it.
	room string
}

// impure are the packages of the standard library that reach out of a process, or
// differ from run to run.
var impure = []string{"os", "io", "io/fs", "net", "net/http", "syscall", "context", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "hash/maphash"}

// none is row.only of a package that imports no package of the module.
var none = []string{}

var table = []row{
	{path: "cmd/longwire", band: entry, only: []string{"internal/app", "internal/cli"}},
	{path: "cmd/longwire-bench", band: entry, only: []string{"internal/bench"}},

	{path: "internal/app", band: wiring},
	{path: "internal/cli", band: wiring, only: []string{"client", "device", "protocol", "internal/config", "internal/engine", "internal/apikey", "internal/auth", "internal/openfiles", "internal/private", "internal/version"}},
	{path: "internal/bench", band: wiring},

	{path: "internal/config", band: settings, only: []string{"internal/private"}},

	{path: "api", band: edges, only: []string{"api/internal/tenant", "api/internal/problem", "api/internal/guard", "gateway", "docs", "console", "internal/version", "internal/apikey", "internal/audit", "internal/shares", "internal/feed", "internal/webhook", "internal/consumer", "internal/findings", "internal/vitals", "internal/why", "internal/timeline", "internal/simulator"}},
	// The api's rooms.
	{path: "api/internal/tenant", band: edges, room: "api", only: []string{"gateway", "internal/apikey", "internal/audit", "internal/feed", "internal/timeline"}, stdlib: true},
	{path: "api/internal/guard", band: edges, room: "api", only: []string{"api/internal/problem", "internal/apikey", "internal/shares"}},
	{path: "api/internal/problem", band: edges, room: "api", only: []string{"gateway"}, stdlib: true},
	{path: "tcpserver", band: edges, only: []string{"gateway", "protocol", "internal/openfiles", "internal/wheel", "internal/shares"}},
	{path: "internal/auth", band: edges, only: []string{"gateway", "internal/private", "internal/watch"}},
	{path: "internal/metrics", band: edges},
	{path: "internal/engine", band: edges, only: []string{"gateway", "internal/engine/record", "internal/engine/state", "internal/engine/journal", "internal/engine/disk"}},
	// The engine's rooms. What applies records must not know a disk or a clock.
	{path: "internal/engine/record", band: edges, room: "internal/engine", only: []string{"gateway"}, stdlib: true, never: impure},
	{path: "internal/engine/state", band: edges, room: "internal/engine", only: []string{"gateway", "internal/engine/record"}, stdlib: true, never: impure},
	{path: "internal/engine/journal", band: edges, room: "internal/engine", only: none, stdlib: true},
	{path: "internal/engine/disk", band: edges, room: "internal/engine", only: []string{"gateway", "internal/engine/record", "internal/private"}},
	{path: "internal/engine/memstore", band: edges, only: []string{"gateway"}},

	{path: "internal/webhook", band: services, only: []string{"gateway", "internal/apikey", "internal/feed"}},
	{path: "internal/consumer", band: services, only: []string{"gateway", "internal/apikey", "internal/feed"}},
	{path: "internal/vitals", band: services, only: []string{"gateway"}, stdlib: true},
	{path: "internal/timeline", band: services, only: []string{"gateway", "protocol"}, stdlib: true},
	{path: "internal/simulator", band: services, only: []string{"gateway", "device", "protocol"}, stdlib: true},
	{path: "internal/feed", band: filters, only: []string{"gateway", "internal/apikey"}, stdlib: true},

	{path: "internal/why", band: filters, only: []string{"gateway"}, stdlib: true, never: impure},

	{path: "client", band: published, only: none, stdlib: true},
	{path: "device", band: published, only: []string{"protocol"}, stdlib: true},

	// The domain knows no wire and no disk. The protocol is a value that takes
	// bytes and times.
	{path: "gateway", band: core, only: none, stdlib: true, never: []string{"net", "net/http", "os", "io"}},
	{path: "protocol", band: core, only: none, stdlib: true, never: []string{"net", "net/http", "os", "context", "log/slog"}},

	{path: "internal/private", band: ground, only: none, stdlib: true},
	{path: "internal/watch", band: ground, only: none, stdlib: true},

	{path: "docs", band: leaves, only: none},
	{path: "console", band: leaves, only: none},
	{path: "internal/findings", band: leaves, only: none, stdlib: true},
	{path: "internal/openfiles", band: leaves, only: none, stdlib: true},
	{path: "internal/wheel", band: leaves, only: none, stdlib: true},
	{path: "internal/certs", band: leaves, only: []string{"internal/private", "internal/watch"}, stdlib: true},
	{path: "internal/shares", band: leaves, only: none, stdlib: true},
	{path: "internal/version", band: leaves, only: none, stdlib: true},
	{path: "internal/apikey", band: leaves, only: []string{"internal/private"}},
	{path: "internal/audit", band: leaves, only: []string{"internal/private"}, stdlib: true},

	{path: "internal/openapigen", band: tools, only: []string{"api", "gateway", "internal/apikey", "internal/auth", "internal/findings", "internal/webhook", "internal/why", "protocol", "internal/timeline"}},
	{path: "internal/sbomgen", band: tools, only: none, stdlib: true},
	{path: "internal/archtest", band: tools, only: none, stdlib: true},
	{path: "test", band: tools},
	{path: "examples", band: tools, only: none},

	{path: "internal/gatewaytest", band: helpers},
	{path: "internal/clocktest", band: helpers, only: none, stdlib: true},
	{path: "internal/engine/enginetest", band: helpers, only: []string{"gateway"}},
	{path: "internal/engine/journaltest", band: helpers, only: []string{"internal/engine/journal"}, stdlib: true},
}

// owners are the rows that may import third-party modules; the rest of the
// program uses the owner. The longest match wins. A module without an entry may
// be imported by every row that is not stdlib.
var owners = map[string][]string{
	"github.com/cespare/xxhash":                               {"internal/engine/state"},
	"github.com/cockroachdb":                                  {"internal/engine", "internal/engine/disk"},
	"github.com/go-chi/chi":                                   {"api", "internal/bench"},
	"github.com/go-chi/httplog":                               {"api"},
	"github.com/go-playground":                                {"api"},
	"github.com/goccy/go-yaml":                                {"internal/config", "internal/openapigen"},
	"github.com/getkin/kin-openapi":                           {"internal/openapigen"},
	"github.com/go-openapi":                                   {},
	"github.com/golang-jwt":                                   {"internal/auth"},
	"github.com/pires/go-proxyproto":                          {"tcpserver"},
	"github.com/prometheus":                                   {"internal/metrics"},
	"github.com/HdrHistogram":                                 {"internal/bench"},
	"github.com/schollz/progressbar":                          {"internal/cli"},
	"github.com/spf13/cobra":                                  {"internal/cli", "internal/bench"},
	"gonum.org/v1":                                            {"internal/bench"},
	"github.com/spf13/pflag":                                  {"internal/config", "internal/cli"},
	"github.com/swaggo/swag":                                  {},
	"github.com/google/go-cmp":                                {"internal/engine/enginetest", "internal/gatewaytest"},
	"github.com/rogpeppe/go-internal":                         {},
	"pgregory.net/rapid":                                      {"internal/engine/enginetest", "internal/gatewaytest"},
	"github.com/stretchr/testify":                             {},
	"github.com/sirupsen/logrus":                              {},
	"github.com/gorilla":                                      {},
	"github.com/prometheus/client_golang/prometheus/promauto": {}, // registers globally
}

// unlinked are modules that must not be in the binary longwire, directly or
// indirectly: they generate, test or measure.
var unlinked = []string{"github.com/swaggo", "github.com/getkin/kin-openapi", "github.com/go-openapi",
	"github.com/google/go-cmp", "github.com/rogpeppe/go-internal/testscript", "pgregory.net/rapid", "testing",
	"gonum.org/v1", "github.com/HdrHistogram"}

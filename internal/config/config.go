// Package config holds the one Config of the process and fills it from four
// sources. A later source in this line wins:
//
//	defaults < YAML file < environment < flags
//
// A setting has one name in three spellings: tcp.addr in the file,
// LONGWIRE_TCP_ADDR in the environment, --tcp-addr as a flag. All are derived from
// the struct below; to add a setting, add a field and its default.
package config

// Config has a field for every setting. The tags give its help and its range: min
// and max are bounds, oneof lists the values. Secrets are masked when they are
// shown.
type Config struct {
	TCP       TCP       `yaml:"tcp" help:"The port for devices"`
	HTTP      HTTP      `yaml:"http" help:"The API for backends"`
	Data      Data      `yaml:"data" help:"The store: its place and its retention"`
	Delivery  Delivery  `yaml:"delivery" help:"Messages on their way to devices"`
	Clients   Clients   `yaml:"clients" help:"How long devices are remembered"`
	Events    Events    `yaml:"events" help:"The log of events"`
	Webhooks  Webhooks  `yaml:"webhooks" help:"Events that are posted to backends"`
	Auth      Auth      `yaml:"auth" help:"The callers that may call and the devices that may connect"`
	Audit     Audit     `yaml:"audit" help:"The record of changes and their callers"`
	Simulator Simulator `yaml:"simulator" help:"Simulated devices"`
	Drain     Drain     `yaml:"drain" help:"How the process stops"`
	Log       Log       `yaml:"log" help:"Logging, to standard error"`
	Insecure  bool      `yaml:"insecure" help:"allow other addresses than loopback without API keys or credentials of devices"`

	secretFiles []string // that Load has read secrets from; see PrivateFiles
}

// Simulator configures simulated devices.
type Simulator struct {
	Enabled string `yaml:"enabled" help:"whether PUT /v1/simulator and longwire simulate may start simulated devices, if both listeners are on loopback: auto is on while the API needs no key" oneof:"auto|on|off"`
}

// TCP configures the device port.
type TCP struct {
	Addr                 string   `yaml:"addr" help:"address on which devices connect" check:"hostport"`
	Driver               string   `yaml:"driver" help:"how plain connections are driven: epoll needs a third of the memory and Linux; portable works everywhere; auto chooses the best available" oneof:"auto|portable|epoll"`
	Heartbeat            Duration `yaml:"heartbeat" help:"send a silent device a heartbeat after" min:"1s" max:"1h"`
	MaxHeartbeat         Duration `yaml:"max_heartbeat" help:"longest interval that a device may ask for" min:"1s" max:"1h"`
	Grace                Duration `yaml:"grace" help:"time to answer a heartbeat before the device counts as offline" min:"100ms" max:"10m"`
	RegisterTimeout      Duration `yaml:"register_timeout" help:"time for a new connection to register" min:"100ms" max:"10m"`
	AckTimeout           Duration `yaml:"ack_timeout" help:"send a message again if it is not acknowledged within" min:"100ms" max:"1h"`
	V1AckTimeout         Duration `yaml:"v1_ack_timeout" help:"the same for the unframed dialect v1" min:"100ms" max:"1h"`
	V1Gap                Duration `yaml:"v1_gap" help:"pause between two writes to a v1 device, because it may read two writes as one" min:"0s" max:"10s"`
	Window               int      `yaml:"window" help:"unacknowledged deliveries per device" min:"1" max:"256"`
	MaxUnregistered      int      `yaml:"max_unregistered" help:"connections that have not registered yet" min:"1"`
	MaxUnregisteredPerIP int      `yaml:"max_unregistered_per_ip" help:"the same from one address" min:"1"`
	MaxConnections       int      `yaml:"max_connections" help:"connections in all; 0 = as many as the file limit allows" min:"0"`
	OutputBudget         Size     `yaml:"output_budget" help:"bytes in memory that may wait for one slow device" min:"300KiB" max:"1GiB"`
	OutputMemory         Size     `yaml:"output_memory" help:"the same for all devices together, at most a quarter of tcp.memory_limit; beyond it the gateway closes the device that has been behind for longest" min:"1MiB" max:"1TiB"`
	InputBudget          Size     `yaml:"input_budget" help:"bytes in memory for incomplete frames of all devices; beyond it the gateway closes the device with the largest one" min:"1MiB" max:"64GiB"`
	WriteTimeout         Duration `yaml:"write_timeout" help:"close a device that reads nothing for" min:"100ms" max:"10m"`
	MemoryLimit          Size     `yaml:"memory_limit" help:"refuse new connections while the process uses more; 0 = GOMEMLIMIT, or nine tenths of the container's limit" min:"0"`
	AcceptRate           int      `yaml:"accept_rate" help:"new connections per second; after a quiet time, ten seconds' worth at once; 0 = no limit" min:"0"`
	AcceptRatePerIP      int      `yaml:"accept_rate_per_ip" help:"the same from one address (IPv6: /64), loopback excepted; 0 = no limit" min:"0"`
	HandshakeRate        int      `yaml:"handshake_rate" help:"TLS handshakes per second, likewise; 0 = no limit" min:"0"`
	HandshakeRatePerIP   int      `yaml:"handshake_rate_per_ip" help:"the same from one address; 0 = no limit" min:"0"`
	RegisterRate         int      `yaml:"register_rate" help:"registrations per second, likewise; 0 = no limit" min:"0"`
	RegisterRatePerIP    int      `yaml:"register_rate_per_ip" help:"the same from one address; 0 = no limit" min:"0"`
	ClientMessageRate    int      `yaml:"client_message_rate" help:"messages per second from one device, acks of deliveries excepted; 0 = no limit" min:"0"`
	ClientByteRate       Size     `yaml:"client_byte_rate" help:"bytes per second from one device; 0 = no limit" min:"0" max:"1GiB"`
	DeliveryRate         int      `yaml:"delivery_rate" help:"deliveries per second to one device; ten seconds' worth at once, others wait; 0 = no limit" min:"0"`
	DeliveryByteRate     Size     `yaml:"delivery_byte_rate" help:"bytes of payloads per second to one device, likewise; 0 = no limit" min:"0" max:"1GiB"`
	TLS                  string   `yaml:"tls" help:"whether devices may or must speak TLS on this port" oneof:"off|optional|required"`
	TLSCertFile          string   `yaml:"tls_cert_file" help:"PEM file of the device port's certificate and its intermediate certificates; reloaded when it changes" file:"read"`
	TLSKeyFile           string   `yaml:"tls_key_file" help:"PEM file of its private key" file:"read"`
	TLSClientAuth        string   `yaml:"tls_client_auth" help:"whether devices may or must show a certificate of their own" oneof:"off|optional|required"`
	TLSClientCAFile      string   `yaml:"tls_client_ca_file" help:"PEM file of the authorities that sign devices' certificates" file:"read"`
	ProxyTrusted         []string `yaml:"proxy_trusted" help:"addresses and networks of load balancers; their connections must begin with a PROXY header" check:"networks"`
	DuplicateID          string   `yaml:"duplicate_id" help:"when an id connects again: the new connection takes over, or is rejected" oneof:"takeover|reject"`
}

// HTTP configures the API.
type HTTP struct {
	Addr                string   `yaml:"addr" help:"address of the API, Swagger UI, health and metrics" check:"hostport"`
	Hosts               []string `yaml:"hosts" help:"Host names, besides loopback ones, that the API answers to when it needs no key"`
	ReadHeaderTimeout   Duration `yaml:"read_header_timeout" help:"time for a request's headers" min:"100ms" max:"10m"`
	ReadTimeout         Duration `yaml:"read_timeout" help:"time for a request with its body" min:"100ms" max:"1h"`
	IdleTimeout         Duration `yaml:"idle_timeout" help:"close an idle keep-alive connection after" min:"1s" max:"1h"`
	MaxHeader           Size     `yaml:"max_header" help:"bytes of a request's headers" min:"4KiB" max:"1MiB"`
	MaxBody             Size     `yaml:"max_body" help:"bytes of a request's body, or of a line of a bulk request, before and after decoding" min:"1KiB" max:"64MiB"`
	MaxWait             Duration `yaml:"max_wait" help:"longest that a caller may wait for an acknowledgement" min:"1s" max:"60s"`
	AccessLog           bool     `yaml:"access_log" help:"log successful requests too, at level info; refused ones are always logged"`
	CORSOrigins         []string `yaml:"cors_origins" help:"web origins, such as https://app.example, whose pages may call the API with a key of their own"`
	RateLimit           int      `yaml:"rate_limit" help:"requests per second of one API key; 0 = no limit" min:"0"`
	RateBurst           int      `yaml:"rate_burst" help:"requests at once after a quiet time; 0 = one second's worth" min:"0"`
	AuthFailures        int      `yaml:"auth_failures" help:"requests per minute with a wrong key from one address (IPv6: /64), loopback excepted; 0 = no limit" min:"0"`
	MaxConnections      int      `yaml:"max_connections" help:"open connections of callers, fewer if the file limit is low; beyond it the gateway closes an idle one, those without a key first" min:"16"`
	ProxyTrusted        []string `yaml:"proxy_trusted" help:"addresses and networks of proxies, which name the caller in X-Forwarded-For or a PROXY header" check:"networks"`
	MaxConnectionsPerIP int      `yaml:"max_connections_per_ip" help:"connections from one address (IPv6: /64) that have shown no key, loopback excepted" min:"1"`
	MaxRequests         int      `yaml:"max_requests" help:"requests under way; others are refused and may come back later" min:"1"`
	MaxBodies           Size     `yaml:"max_bodies" help:"bytes of request bodies in memory; other requests are refused and may come back later" min:"64MiB"`
	MaxStreams          int      `yaml:"max_streams" help:"open event streams" min:"1"`
	MaxStreamsPerKey    int      `yaml:"max_streams_per_key" help:"the same with one API key" min:"1"`
	TLSCertFile         string   `yaml:"tls_cert_file" help:"PEM file of a certificate: with one the API speaks HTTPS; reloaded when it changes" file:"read"`
	TLSKeyFile          string   `yaml:"tls_key_file" help:"PEM file of its private key" file:"read"`
}

// Data configures the store.
type Data struct {
	Dir             string   `yaml:"dir" help:"directory of the store"`
	Engine          string   `yaml:"engine" help:"pebble keeps messages on disk; memory loses them with the process" oneof:"pebble|memory"`
	StatusRetention Duration `yaml:"status_retention" help:"keep completed messages for" min:"24h" max:"3650d"`
	UplinkRetention Duration `yaml:"uplink_retention" help:"keep messages from devices for" min:"1m" max:"3650d"`
	MaxDisk         Size     `yaml:"max_disk" help:"refuse messages while the store is larger; 0 = no limit" min:"0"`
	MinFree         Size     `yaml:"min_free" help:"refuse messages while the disk has less free space; 0 = no minimum" min:"0"`
}

// Delivery configures the life of a message.
type Delivery struct {
	DefaultTTL     Duration `yaml:"default_ttl" help:"time to live of a message that names none" min:"1s" max:"30d"`
	MaxAttempts    int      `yaml:"max_attempts" help:"transmissions of a delivery before it fails" min:"1" max:"1000"`
	MaxQueued      int      `yaml:"max_queued" help:"messages that may be queued for one client; beyond it a push is refused, 409 queue-full" min:"1" max:"1000000"`
	MaxQueuedBytes Size     `yaml:"max_queued_bytes" help:"bytes of payloads that may be queued for one client, messages to many clients excepted" min:"256KiB" max:"16GiB"`
	OnlineWait     Duration `yaml:"online_wait" help:"how long a push with mode=online waits if it names no time" min:"100ms" max:"60s"`
}

// Clients configures how long the gateway remembers devices.
type Clients struct {
	Max         int      `yaml:"max" help:"clients that may be known; beyond it a new one is refused, and no key or tenant makes more known than are free" min:"1" max:"1000000000"`
	ForgetAfter Duration `yaml:"forget_after" help:"forget a device without queued messages that was not seen for" min:"1h" max:"3650d"`
}

// Events configures the log of events.
type Events struct {
	Retain      Duration `yaml:"retain" help:"keep events for, at most as long as the messages and uplinks that they refer to" min:"1h" max:"3650d"`
	MaxBytes    Size     `yaml:"max_bytes" help:"bytes of events on the disk; beyond it the oldest are removed. At most an eighth of data.max_disk is used" min:"1MiB" max:"1TiB"`
	Buffer      int      `yaml:"buffer" help:"newest events in memory while they are read" min:"64" max:"10000000"`
	BufferBytes Size     `yaml:"buffer_bytes" help:"bytes of payloads in them" min:"64KiB" max:"8GiB"`

	Timeline       bool `yaml:"timeline" help:"keep the last events of each client in memory: frames, states, connections"`
	TimelineMemory Size `yaml:"timeline_memory" help:"bytes of them; beyond it the client with the most loses its older ones" min:"1MiB" max:"64GiB"`
}

// Webhooks configures where webhooks may lead.
type Webhooks struct {
	AllowNetworks []string `yaml:"allow_networks" help:"private addresses and networks that webhooks may lead to. Loopback is allowed while the API is open on loopback" check:"networks"`
}

// Auth configures API keys and the credentials of devices.
type Auth struct {
	APIKeys     []Secret `yaml:"api_keys" help:"keys of callers, each lwk_ and at least 16 characters; empty = no key needed" check:"apikey"`
	DeviceToken Secret   `yaml:"device_token" help:"token that a device must register with; empty = no token needed"`

	DeviceTokensFile      string   `yaml:"device_tokens_file" help:"file with the tokens of devices, written by: longwire devices token create" file:"read"`
	DeviceJWTKeys         string   `yaml:"device_jwt_keys" help:"keys of signed device tokens (JWT): a JWKS or PEM file, or a directory of such files" file:"read"`
	DeviceJWTIssuer       string   `yaml:"device_jwt_issuer" help:"issuer (iss) of signed device tokens; empty = any"`
	DeviceJWTAudience     string   `yaml:"device_jwt_audience" help:"audience (aud) of signed device tokens; empty = any"`
	DeviceJWTLeeway       Duration `yaml:"device_jwt_leeway" help:"difference of clocks that signed device tokens may have" min:"0s" max:"10m"`
	DeviceCertificateID   string   `yaml:"device_certificate_id" help:"the name in a device's certificate that is its id" oneof:"none|cn|san_dns|san_uri|san_email"`
	DeviceRevokedFile     string   `yaml:"device_revoked_file" help:"PEM file of lists of revoked certificates (CRL), signed by authorities in tcp.tls_client_ca_file; reloaded when it changes" file:"read"`
	DeviceHookURL         string   `yaml:"device_hook_url" help:"HTTP service (hook) that decides whether a device may register" check:"url"`
	DeviceHookSecret      Secret   `yaml:"device_hook_secret" help:"bearer token for the hook; empty = none"`
	DeviceHookMode        string   `yaml:"device_hook_mode" help:"enforce the hook's answers, or monitor: only report them" oneof:"enforce|monitor"`
	DeviceHookTimeout     Duration `yaml:"device_hook_timeout" help:"time for the hook's answer; without an answer the device must come back later" min:"50ms" max:"9s"`
	DeviceHookConcurrency int      `yaml:"device_hook_concurrency" help:"concurrent requests to the hook" min:"1" max:"256"`
	DeviceHookAllowTTL    Duration `yaml:"device_hook_allow_ttl" help:"how long to remember that the hook allowed a device; 0s = ask each time" min:"0s" max:"24h"`
	DeviceHookDenyTTL     Duration `yaml:"device_hook_deny_ttl" help:"how long to remember that the hook refused a device; 0s = ask each time" min:"0s" max:"1h"`
	DeviceRequire         string   `yaml:"device_require" help:"whether a device needs any one credential, or all configured kinds" oneof:"any|all"`
	DeviceUnknown         string   `yaml:"device_unknown" help:"ids without a credential of their own that may register: auto = the shared token decides, open = all, listed = those in the store or the token file, pattern = those of auth.device_patterns" oneof:"auto|open|listed|pattern"`
	DevicePatterns        []string `yaml:"device_patterns" help:"patterns of ids, such as meter-*, for auth.device_unknown pattern"`
	DeviceV1Token         bool     `yaml:"device_v1_token" help:"let v1 devices register with a token after their id: 1#id token"`
	DeviceGroups          []string `yaml:"device_groups" help:"groups that devices may enter and leave when they register, besides those of their tokens; * = all groups that no API key is limited to; empty = none" check:"groups"`
	DeviceFailures        int      `yaml:"device_failures_per_minute" help:"refused registrations per minute from one address before its other devices must wait; 0 = no limit" min:"0" max:"1000000"`
}

// Audit configures the record of writes.
type Audit struct {
	File string `yaml:"file" help:"file for a JSON line about every write; - = the log; empty = the log, without pushes"`
}

// Drain configures an orderly stop.
type Drain struct {
	Delay       Duration `yaml:"delay" help:"how long to report not ready before the listeners close" min:"0s" max:"10m"`
	Timeout     Duration `yaml:"timeout" help:"time to complete requests and deliveries under way" min:"0s" max:"10m"`
	RetrySpread Duration `yaml:"retry_spread" help:"spread over which devices are asked to come back" min:"0s" max:"10m"`
}

// Log configures logging.
type Log struct {
	Level  string `yaml:"level" help:"least severity that is logged" oneof:"debug|info|warn|error"`
	Format string `yaml:"format" help:"auto = text on a terminal, else json" oneof:"auto|text|json"`
}

// Values of tcp.duplicate_id: what the gateway does when an id connects again.
const (
	TakeOver        = "takeover"
	RejectDuplicate = "reject"
)

// Values of tcp.tls and tcp.tls_client_auth.
const (
	Off      = "off"
	Optional = "optional"
	Required = "required"
)

// Values of simulator.enabled, besides Off.
const (
	On   = "on"
	Auto = "auto"
)

// Values of data.engine.
const (
	EnginePebble = "pebble"
	EngineMemory = "memory"
)

// Package simulator runs up to MaxDevices simulated devices. They use the project's SDK
// over real connections to the gateway's own device listener, so that a gateway can be
// tried without a real device.
//
// A simulated client has an id that begins with "sim-" and the label simulator, whose
// value is its profile. Nothing is stored but the clients: after a restart of the
// process no device is simulated until the next Set. Clear removes the clients, also
// those of an earlier process.
//
// # Goroutines
//
// Each device has the goroutines of device.Client and one that runs it again. They end
// when the device is removed, or in Close.
package simulator

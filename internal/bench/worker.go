package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// workerName is the hidden subcommand whose process has simulated clients.
const workerName = "worker"

// order is one line to a worker, report one line back.
type (
	order struct {
		Do   string `json:"do"` // join, ask, drop or count
		Join join   `json:"join,omitzero"`
	}
	report struct {
		Joined recorder `json:"joined,omitzero"`
		Counts counts   `json:"counts,omitzero"`
		Error  string   `json:"error,omitempty"`
	}
)

// serveWorker executes the orders of in, line by line, until in ends; then it
// disconnects its clients.
func serveWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &simulated{}
	defer c.drop()
	orders, reports := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		if err := reports.Encode(c.execute(ctx, o)); err != nil {
			return fmt.Errorf("write a report: %w", err)
		}
	}
}

func (c *simulated) execute(ctx context.Context, o order) (r report) {
	var err error
	switch o.Do {
	case "join":
		var joined *recorder
		if joined, err = c.join(ctx, o.Join); err == nil {
			r.Joined = *joined
		}
	case "ask":
		err = c.ask(ctx)
	case "drop":
		c.drop()
	case "count":
		r.Counts = counts{Lost: c.lost.Load(), Beats: c.beats.Load()}
	default:
		err = fmt.Errorf("there is no order %q", o.Do)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// worker is the controller's end of a worker process.
type worker struct {
	orders  *json.Encoder
	reports *json.Decoder
	stop    func() error // ends the process and waits for it
}

// startWorker runs this binary as a worker.
func startWorker(ctx context.Context) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return workerFrom(ctx, exec.Command(self, workerName))
}

// workerFrom starts cmd. The process ends with ctx at the latest.
func workerFrom(ctx context.Context, cmd *exec.Cmd) (*worker, error) {
	in, orders := io.Pipe()
	reports, out := io.Pipe()
	cmd.Stdin, cmd.Stdout = in, out
	stop, err := launch(ctx, cmd, out)
	if err != nil {
		return nil, err
	}
	return &worker{orders: json.NewEncoder(orders), reports: json.NewDecoder(reports), stop: func() error {
		orders.Close()
		in.Close()
		return stop()
	}}, nil
}

// order sends an order and waits for the report.
func (w *worker) order(o order) (r report, err error) {
	if err = w.orders.Encode(o); err == nil {
		err = w.reports.Decode(&r)
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("a worker does not answer: %w", err)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

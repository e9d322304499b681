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

// helperName is the hidden subcommand whose process holds a crowd for another.
const helperName = "crowd"

// order is one line to a helper, reply one line back.
type (
	order struct {
		Do     string `json:"do"` // join, ask, drop or count
		Muster muster `json:"muster"`
	}
	reply struct {
		Joined *latencies `json:"joined,omitempty"`
		Tally  tally      `json:"tally,omitzero"`
		Error  string     `json:"error,omitempty"`
	}
)

// serveCrowd holds a crowd and does what it is told on in, line by line, until
// that ends; the crowd is gone then.
func serveCrowd(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &crowd{}
	defer c.close()
	orders, replies := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		if err := replies.Encode(c.obey(ctx, o)); err != nil {
			return fmt.Errorf("tell how it went: %w", err)
		}
	}
}

func (c *crowd) obey(ctx context.Context, o order) (r reply) {
	err := fmt.Errorf("there is no order %q", o.Do)
	switch o.Do {
	case "join":
		r.Joined, err = c.join(ctx, o.Muster)
	case "ask":
		err = c.ask(ctx)
	case "drop":
		err = c.drop(ctx)
	case "count":
		r.Tally, err = c.count(ctx)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// helper is the hold on a crowd in another process.
type helper struct {
	orders  *json.Encoder
	replies *json.Decoder
	end     func() error // waits for the process
}

// startHelper runs this binary again.
func startHelper(ctx context.Context) (hands, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return helperFrom(ctx, exec.Command(self, "bench", helperName))
}

// helperFrom starts cmd. The process ends with ctx at the latest.
func helperFrom(ctx context.Context, cmd *exec.Cmd) (*helper, error) {
	in, orders := io.Pipe()
	replies, out := io.Pipe()
	cmd.Stdin, cmd.Stdout = in, out
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = dieWithParent()
	exited, err := launch(cmd, out)
	if err != nil {
		return nil, err
	}
	stop := stopper(cmd, exited)
	context.AfterFunc(ctx, func() { _ = stop() })
	return &helper{orders: json.NewEncoder(orders), replies: json.NewDecoder(replies), end: func() error {
		orders.Close()
		in.Close()
		return stop()
	}}, nil
}

// tell sends an order and waits for the reply.
func (h *helper) tell(o order) (r reply, err error) {
	if err = h.orders.Encode(o); err == nil {
		err = h.replies.Decode(&r)
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("a process with clients does not answer: %w", err)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

func (h *helper) join(_ context.Context, m muster) (*latencies, error) {
	r, err := h.tell(order{Do: "join", Muster: m})
	if err == nil && r.Joined == nil {
		err = errors.New("a process with clients does not say when they joined")
	}
	return r.Joined, err
}

func (h *helper) ask(context.Context) error {
	_, err := h.tell(order{Do: "ask"})
	return err
}

func (h *helper) drop(context.Context) error {
	_, err := h.tell(order{Do: "drop"})
	return err
}

func (h *helper) count(context.Context) (tally, error) {
	r, err := h.tell(order{Do: "count"})
	return r.Tally, err
}

func (h *helper) close() error { return h.end() }

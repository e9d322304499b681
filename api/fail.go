package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// bodyProblem translates the error of reading a body.
func (s *server) bodyProblem(err error) error {
	var netErr net.Error
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		if s.drain.is() {
			return drainingProblem()
		}
		return problem.New(problem.RequestTimeout, "the body did not arrive in time")
	}
	return problem.New(problem.IncompleteBody, "the body ended before its announced length or its last chunk")
}

// fail writes err as a problem. When the answer has begun, it closes the connection
// instead, so that the caller sees a broken answer.
func (s *server) fail(x *exchange, r *http.Request, err error) {
	if x.status != 0 {
		level := slog.LevelWarn
		if r.Context().Err() != nil || errors.Is(err, errCallerGone) {
			level = slog.LevelDebug
		}
		s.log.LogAttrs(r.Context(), level, "answer broken off", slog.String("request_id", x.id), slog.Any("err", err))
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		x.status = statusCallerGone
		return
	}
	p := *problem.Of(err)
	p.Instance = x.id
	if p.Code() == string(gateway.CodeDraining) {
		s.drain.refused.Add(1)
	}
	if p.Status >= 500 {
		s.log.LogAttrs(r.Context(), levelOf(&p), "request failed", slog.String("request_id", x.id),
			slog.String("problem", p.Type), slog.String("detail", p.Detail), slog.Any("cause", p.Cause))
	}
	if x.lingers = lingers(x, r, p.Status); x.lingers {
		x.Header().Set("Connection", "close")
	}
	p.SetHeaders(x.Header())
	writeBody(x, typeProblem, p.Status, &p)
}

// levelOf returns the level of the log line of a 5xx answer. Devices that do not ack
// in time, overload and an orderly stop are no errors of the server.
func levelOf(p *problem.Problem) slog.Level {
	if p.Status == http.StatusGatewayTimeout || p.Code() == string(problem.Overloaded) || p.Code() == string(gateway.CodeDraining) {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// statusCallerGone is logged and counted for a caller that closed the connection
// before its answer began. It is never sent.
const statusCallerGone = 499

// errCallerGone ends an answer whose caller has stopped to read it.
var errCallerGone = errors.New("the caller takes no more of the answer")

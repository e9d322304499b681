package memstore

import (
	"errors"
	"fmt"

	"github.com/longwire/longwire/gateway"
)

var (
	errClosed = errors.New("memstore: closed")
	errFull   = errors.New("memstore: no room for another message, and none is completed")
)

func unavailable(cause error) error {
	e := *gateway.ErrUnavailable
	e.Cause = cause
	return &e
}

func clientNotFound(id gateway.ClientID) error {
	return &gateway.Error{Code: gateway.CodeClientNotFound, Message: fmt.Sprintf("client %q is not known", id)}
}

func messageNotFound(id gateway.MessageID) error {
	return &gateway.Error{Code: gateway.CodeMessageNotFound, MessageID: id,
		Message: fmt.Sprintf("message %q is not known, or no longer kept", id)}
}

func invalid(format string, args ...any) error {
	return &gateway.Error{Code: gateway.CodeValidation, Message: fmt.Sprintf(format, args...)}
}

package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
)

// A payload may be a page with scripts. A browser must not run it in this origin: it is an
// attachment, and if a browser shows it anyway, the page has no scripts and its own origin.
var payloadCSP = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}

// payload is a payload to be answered.
type payload struct {
	name    string // of the file, without its ending; also the entity tag
	content string // one of the values of Digest.Content
	data    []byte
}

var payloadTypes = map[string]struct{ media, ending string }{
	contentText:   {"text/plain; charset=utf-8", ".txt"},
	contentJSON:   {"application/json", ".json"},
	contentBinary: {"application/octet-stream", ".bin"},
}

// messagePayload answers with the payload of a message.
//
//	@ID				messagePayload
//	@Summary		Get the payload of a message
//	@Description	The plain bytes that the device gets, as an attachment. `Range` asks for a part of them. A message with `mode=online` and no `Idempotency-Key` is not kept: 404.
//	@Tags			messages
//	@Produce		plain,json,octet-stream
//	@Param			id				path	string	true	"message id"
//	@Param			Range			header	string	false	"one range of bytes"	example(bytes=0-4095)
//	@Param			If-Match		header	string	false	"entity tags, or *: 412 if the payload has none of them"
//	@Param			If-None-Match	header	string	false	"entity tags, or *: 304 if the payload has one of them"
//	@Success		200				{file}	file	"the payload"
//	@Success		206				{file}	file	"the part of it that Range asks for"
//	@Success		304				"If-None-Match has the ETag: the caller has the payload"
//	@x-scope		"messages:read"
//	@Router			/v1/messages/{id}/payload [get]
func (s *server) messagePayload(w http.ResponseWriter, r *http.Request) error {
	m, err := viewOf(w).Message(messageInPath(r))
	if err != nil {
		return err
	}
	return writePayload(w, r, payload{string(m.ID), contentOf(m.Encoding), m.Payload})
}

// uplinkPayload answers with the payload of an uplink.
//
//	@ID				uplinkPayload
//	@Summary		Get the payload of an uplink
//	@Description	The plain bytes that the device has sent, as an attachment. `Range` asks for a part of them.
//	@Tags			uplinks
//	@Produce		plain,octet-stream
//	@Param			seq				path	int		true	"sequence of the uplink"
//	@Param			Range			header	string	false	"one range of bytes"	example(bytes=0-4095)
//	@Param			If-Match		header	string	false	"entity tags, or *: 412 if the payload has none of them"
//	@Param			If-None-Match	header	string	false	"entity tags, or *: 304 if the payload has one of them"
//	@Success		200				{file}	file	"the payload"
//	@Success		206				{file}	file	"the part of it that Range asks for"
//	@Success		304				"If-None-Match has the ETag: the caller has the payload"
//	@x-scope		"messages:read"
//	@Router			/v1/uplinks/{seq}/payload [get]
func (s *server) uplinkPayload(w http.ResponseWriter, r *http.Request) error {
	seq, err := strconv.ParseUint(pathParam(r, "seq"), 10, 64)
	if err != nil {
		return problem.BadParameter("seq", "is the sequence of an uplink")
	}
	u, ok, err := viewOf(w).Uplink(seq)
	if err != nil {
		return err
	}
	if !ok {
		return problem.New(problem.UplinkNotFound, "no such uplink is kept")
	}
	return writePayload(w, r, payload{"uplink-" + strconv.FormatUint(seq, 10), contentOfUplink(u.Payload), u.Payload})
}

// writePayload answers with p or with the part of it that the request asks for, or says
// that the caller has it.
func writePayload(w http.ResponseWriter, r *http.Request, p payload) error {
	h, size, tag := w.Header(), len(p.data), `"`+p.name+`"`
	unchanged, err := precondition(r, tag)
	if err != nil {
		return err
	}
	if unchanged {
		h.Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	from, end, asked := 0, size, false
	// Ranges are defined for GET alone (RFC 9110, section 14.2).
	if given := r.Header.Get("If-Range"); r.Method == http.MethodGet && (given == "" || given == tag) {
		var ok bool
		if from, end, asked, ok = byteRange(r.Header.Get("Range"), size); !ok {
			h.Set("Content-Range", "bytes */"+strconv.Itoa(size))
			return problem.New(problem.RangeNotSatisfiable, "the payload has %d bytes", size)
		}
	}
	t := payloadTypes[p.content]
	h.Set("Content-Disposition", `attachment; filename="`+p.name+t.ending+`"`)
	h["Content-Security-Policy"] = payloadCSP
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", tag)
	h.Set("Content-Length", strconv.Itoa(end-from))
	status := http.StatusOK
	if asked {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(end-1)+"/"+strconv.Itoa(size))
	}
	writeBytes(w, []string{t.media}, status, p.data[from:end])
	return nil
}

// byteRange reads a Range header (RFC 9110, section 14). asked is false, and the range is
// all, if there is no header or one that is not a single range of bytes: a server may
// ignore those. ok is false if the range has no byte of the size that there are.
func byteRange(header string, size int) (from, end int, asked, ok bool) {
	spec, found := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, size, false, true
	}
	a, errA := strconv.ParseUint(first, 10, 63)
	b, errB := strconv.ParseUint(last, 10, 63)
	switch {
	case first == "" && errB == nil: // the last b bytes
		from = size - int(min(b, uint64(size)))
		return from, size, true, from < size
	case errA != nil, last != "" && (errB != nil || b < a):
		return 0, size, false, true
	case a >= uint64(size):
		return 0, 0, true, false
	case last == "" || b >= uint64(size):
		return int(a), size, true, true
	}
	return int(a), int(b) + 1, true, true
}

package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/longwire/longwire/api/internal/problem"
)

// contentCoding returns the coding of the request's body, "" for none. It refuses
// a coding that decodeBody does not decode: the device would get the encoded bytes.
func contentCoding(r *http.Request) (string, error) {
	switch c := strings.ToLower(strings.TrimSpace(strings.Join(r.Header["Content-Encoding"], ","))); c {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "zstd":
		return c, nil
	default:
		return "", wrongCoding("gzip, zstd, identity", "Content-Encoding %s is not decoded; send gzip, zstd or none", c)
	}
}

// wrongCoding is a 415 that names the codings of this call (RFC 9110 §15.5.16).
func wrongCoding(takes, format string, args ...any) *problem.Problem {
	p := problem.New(problem.UnsupportedMediaType, format, args...)
	p.Accepts = takes
	return p
}

// decodeBody replaces the encoded body in buf by the decoded one. It counts limit
// bytes against the caller's budget first, because the decoded size is not known.
func (s *server) decodeBody(x *exchange, coding string, limit int64, buf *bytes.Buffer) error {
	if coding == "" {
		return nil
	}
	if err := s.bodies.Take(x.principal, int(limit)); err != nil {
		return err
	}
	x.bodySize += int(limit)
	return decodeContent(coding, limit, buf)
}

// decodeContent replaces the encoded bytes in buf by at most limit decoded ones.
func decodeContent(coding string, limit int64, buf *bytes.Buffer) error {
	encoded := bytes.NewReader(bytes.Clone(buf.Bytes()))
	buf.Reset()
	var plain io.Reader
	var err error
	if coding == "gzip" {
		plain, err = gzip.NewReader(encoded)
	} else {
		var d *zstd.Decoder
		d, err = zstd.NewReader(encoded, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err == nil {
			defer d.Close()
		}
		plain = d
	}
	var n int64
	if err == nil {
		n, err = buf.ReadFrom(io.LimitReader(plain, limit+1))
	}
	switch {
	case n > limit:
		return problem.TooLarge(limit, "the decoded body")
	case err != nil:
		return wrongCoding("gzip, zstd, identity", "the body is not %s, as Content-Encoding says", coding)
	}
	return nil
}

// maxZstdWindow bounds the memory of a decoder, in bytes. The highest compression
// level uses a window of 8 MiB.
const maxZstdWindow = 8 << 20

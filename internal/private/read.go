package private

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Read reads a regular file of at most limit bytes, without its byte order mark.
func Read(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name) // before the open, which waits for the other end of a named pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	r, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := ReadAll(r, name, limit)
	return WithoutMark(b), err
}

// ReadTrusted is Read for a file that lets in anyone who can write it; see Trusted.
func ReadTrusted(name string, limit int64) ([]byte, error) {
	if err := Trusted(name); err != nil {
		return nil, err
	}
	return Read(name, limit)
}

// ReadAll reads r to its end, a file of this name. More than limit bytes are an error.
func ReadAll(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// WithoutMark returns a text without its byte order mark, which editors on Windows write.
func WithoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

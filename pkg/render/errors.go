package render

import (
	"fmt"
	"strings"
)

// Error says that a bundle cannot be rendered with its options. It is
// permanent: the same files and options fail again, so a user must change them.
type Error struct {
	// File is the path inside the bundle; empty when no single file is to blame.
	File string
	// Line in File, counted from 1; 0 when it is not known.
	Line int
	// Object is the kind and name of the object, such as "ConfigMap web/settings"; empty when there is none.
	Object string
	// Message says what is wrong. It holds nothing of values or of the content of files.
	Message string
	// Err is the cause for errors.Is and errors.As. Its text may quote the content of files: do not print it.
	Err error
}

// Error returns "file:line: object: message".
func (e *Error) Error() string {
	var parts []string
	switch {
	case e.File != "" && e.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", e.File, e.Line))
	case e.File != "":
		parts = append(parts, e.File)
	}
	if e.Object != "" {
		parts = append(parts, e.Object)
	}
	return strings.Join(append(parts, e.Message), ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// fileErrorf returns an Error that blames a whole file.
func fileErrorf(file, format string, args ...any) *Error {
	return &Error{File: file, Message: fmt.Sprintf(format, args...)}
}

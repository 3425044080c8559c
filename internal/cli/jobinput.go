package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"replyworker/internal/job"
)

const (
	// maxInputLine is how long a line is read as a whole: more than a job may have, so that one that
	// is somewhat too long is still looked into.
	maxInputLine  = job.MaxBytes + 64<<10
	jsonWhite     = " \t\r\n"
	byteOrderMark = "\ufeff"
	spoolChunk    = 256 << 10
)

// rawJob is a job as a batch has it, not looked into yet.
type rawJob struct {
	line  int64  // on which it begins
	value []byte // nil where there is none to look into
	fault string // says why not
	what  string // whose fault it is, where it is not the value's
}

// jobSource is a batch of jobs that can be read more than once.
type jobSource interface {
	// each calls do for every job of the batch, from its beginning. The value is do's until it returns.
	each(ctx context.Context, do func(raw rawJob) error) error
	title() string // for messages
}

// jobInput is a file of jobs, one JSON object or NDJSON. Close it.
type jobInput struct {
	name string // for messages
	file *os.File
	temp bool
}

func (in *jobInput) title() string { return in.name }

// openJobs opens a file, or copies what can be read only once (standard input for "" and "-", or a
// pipe) to a temporary file that only its owner can read and that close removes.
func openJobs(ctx context.Context, s *state, path string) (*jobInput, error) {
	if path == "" || path == "-" {
		return spool(&stoppableReader{ctx: ctx, from: s.stdin}, "standard input")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		_ = f.Close()
		return nil, err //nolint:wrapcheck // it names the path
	case info.IsDir():
		_ = f.Close()
		return nil, fmt.Errorf("%s is a folder; want a file of jobs", path)
	case info.Mode().IsRegular():
		return &jobInput{name: path, file: f}, nil
	}
	defer func() { _ = f.Close() }() // it was only read
	return spool(&stoppableReader{ctx: ctx, from: f}, path)
}

func spool(from io.Reader, name string) (*jobInput, error) {
	f, err := os.CreateTemp("", "replyworker-enqueue-*") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("temporary file for %s: %w", name, err)
	}
	in := &jobInput{name: name, file: f, temp: true}
	// Where the system lets open files be removed, nothing is left even if the process is killed.
	// Elsewhere this fails, and close does it.
	_ = os.Remove(f.Name())
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, from, make([]byte, spoolChunk)); err != nil {
		in.close()
		return nil, fmt.Errorf("copy %s to a temporary file: %w", name, err)
	}
	return in, nil
}

func (in *jobInput) close() {
	_ = in.file.Close() // nothing in it is needed any more
	if in.temp {
		_ = os.Remove(in.file.Name()) // gone already on most systems
	}
}

func (in *jobInput) rewind() error {
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", in.name, err)
	}
	return nil
}

// each takes every line that is not blank for a job, or the whole where it is one JSON document of
// several lines.
func (in *jobInput) each(ctx context.Context, do func(raw rawJob) error) error {
	if err := in.rewind(); err != nil {
		return err
	}
	r := bufio.NewReaderSize(in.file, maxInputLine)
	if head, _ := r.Peek(len(byteOrderMark)); string(head) == byteOrderMark { // of Windows' editors and shells
		_, _ = r.Discard(len(byteOrderMark)) // it was peeked at
	}
	if all, err := r.Peek(maxInputLine); errors.Is(err, io.EOF) {
		if line, value := oneDocument(all); value != nil {
			return do(rawJob{line: line, value: value})
		}
	}
	for line := int64(1); ; line++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		text, err := r.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("read %s: %w", in.name, err)
		}
		raw := rawJob{line: line, value: bytes.Trim(text, jsonWhite)}
		if tooLong {
			raw.value = nil
			raw.fault = fmt.Sprintf("has more than %d bytes; must be at most %d", maxInputLine, job.MaxBytes)
		}
		if tooLong || len(raw.value) > 0 {
			if err := do(raw); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// oneDocument returns the value of an input that is one JSON document of several lines, and the line
// on which it begins. An input whose first line is a value by itself has a job on each line; so has
// one that is not JSON as a whole, unless it begins as pretty-printed JSON does.
func oneDocument(all []byte) (line int64, value []byte) {
	value = bytes.Trim(all, jsonWhite)
	first, _, several := bytes.Cut(value, []byte("\n"))
	first = bytes.TrimRight(first, jsonWhite)
	if !several || json.Valid(first) {
		return 0, nil
	}
	if string(first) != "{" && string(first) != "[" && !json.Valid(value) {
		return 0, nil
	}
	before := len(all) - len(bytes.TrimLeft(all, jsonWhite))
	return 1 + int64(bytes.Count(all[:before], []byte("\n"))), value
}

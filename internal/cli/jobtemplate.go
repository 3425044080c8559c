package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/jobtemplate"
)

// templatedJobs is a batch of jobs that a template makes of the rows of a CSV file.
type templatedJobs struct {
	*jobInput

	template   *jobtemplate.Template
	path       string // of the template
	validation job.Validation
}

// templateProblemRow is a line of stderr with -o json.
type templateProblemRow struct {
	Template string `json:"template"`
	Pointer  string `json:"pointer"` // empty: the whole template
	Problem  string `json:"problem"`
}

// newTemplatedJobs reads the template, and refuses one that makes no jobs, whatever the rows hold. What is
// wrong with it is listed on stderr.
func newTemplatedJobs(s *state, in *jobInput, reader *jobReader, path string) (*templatedJobs, error) {
	text, err := readTemplate(path)
	if err != nil {
		return nil, err
	}
	template, err := jobtemplate.Parse(text)
	var problems []job.Problem
	if invalid, ok := errors.AsType[*jobtemplate.InvalidError](err); ok {
		problems = invalid.Problems
	} else if _, found, _ := reader.read(rawJob{line: 1, value: template.Sample()}); len(found) > 0 {
		problems = template.Own(found)
	}
	if len(problems) == 0 {
		return &templatedJobs{jobInput: in, template: template, path: path, validation: reader.validation}, nil
	}
	for _, p := range problems {
		if s.output == outputJSON {
			_ = encodeJSON(s.stderr, templateProblemRow{path, p.Pointer, p.Rule}) // the error below says it too
			continue
		}
		_, _ = fmt.Fprintf(s.stderr, "%s: %s\n", clean(path), p)
	}
	return nil, withHint(fmt.Errorf("%s: no template of a job, %d problems; nothing was produced", path, len(problems)),
		"`worker enqueue --help` says what a template is, `worker schema job` what a job is")
}

// readTemplate reads a file of at most a little more than a template may have.
func readTemplate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, job.MaxBytes+16))
	if err != nil {
		return nil, fmt.Errorf("read the template: %w", err)
	}
	return text, nil
}

// each makes a job of each row.
func (in *templatedJobs) each(ctx context.Context, do func(raw rawJob) error) error {
	if err := in.rewind(); err != nil {
		return err
	}
	rows, err := jobtemplate.NewRows(in.file)
	if err != nil {
		return in.failed(err)
	}
	filler, err := in.template.Filler(rows.Columns(), in.validation)
	if err != nil {
		return in.unknown(err)
	}
	var value []byte
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return in.failed(err)
		}
		raw := rawJob{line: row.Line, fault: row.Fault}
		if raw.fault == "" {
			value, raw.fault = filler.Fill(value[:0], row.Cells)
		}
		if raw.value = value; raw.fault != "" {
			raw.value, raw.what = nil, "the row"
		}
		if err := do(raw); err != nil {
			return err
		}
	}
}

// failed says that the file cannot be read as CSV, or no further.
func (in *templatedJobs) failed(err error) error {
	format, ok := errors.AsType[*jobtemplate.FormatError](err)
	if !ok {
		return fmt.Errorf("read %s: %w", in.name, err)
	}
	err = fmt.Errorf("%s: %w", in.name, err)
	if format.Hint == "" {
		return err
	}
	return withHint(err, format.Hint)
}

// unknown says that the template and the file do not fit.
func (in *templatedJobs) unknown(err error) error {
	hint := "the names between {{ and }} are those in the first row of the CSV"
	if e, ok := errors.AsType[*jobtemplate.UnknownColumnsError](err); ok {
		var near []string
		for _, name := range e.Unknown {
			if n := config.Nearest(name, e.Columns); n != "" {
				near = append(near, fmt.Sprintf("%q for %q", n, name))
			}
		}
		if len(near) > 0 {
			hint = "did you mean " + strings.Join(near, ", ") + "?"
		}
	}
	return withHint(fmt.Errorf("%s: %s has %w", in.path, in.name, err), hint)
}

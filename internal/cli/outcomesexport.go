package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/outcome"
	"replyworker/internal/outcome/export"
)

const outcomesExportLong = `Write the outcomes that are there now to a file, or to standard output.

  csv      RFC 4180, UTF-8, a line of names first; labels are a JSON object in one column. A cell that a
           spreadsheet would run (it begins with =, +, -, @, a tab or a line break), or that begins with ',
           has a ' before it, unless --raw-cells is set; how many is told.
  ndjson   each event as it stands in the topic, with fields of later versions, and ce_id as a first member
  parquet  typed columns: times as timestamps (null where not known), labels as a map, source as a group;
           compressed with zstd

docs/analytics.md has the columns. Without --out csv and ndjson go to standard output, and parquet where that
is no terminal. A file gets its name when all of it is written: until then, and where a stop could not be
tidied up after, it is .NAME.RANDOM.part beside it. A file that exists is kept, unless --force is set.
Without --format the end of the file's name says it.

` + outcomeFilterHelp + `
It remembers the last 1,000,000 outcomes for that; a repeat that comes after more than these is written.

With --out one line is printed: file, format, outcomes, repeats (dropped), unreadable, guarded_cells, bytes,
seconds. The exit status is 3 where a record is no outcome; the others are in the export.`

type outcomesExportFlags struct {
	outcomeFlags

	format, out     string
	force, rawCells bool
}

func newOutcomesExportCommand(s *state) *cobra.Command {
	var f outcomesExportFlags
	cmd := &cobra.Command{
		Use:   "export [flags]",
		Short: "write them as CSV, NDJSON or Parquet",
		Long:  outcomesExportLong,
		Example: "  worker outcomes export --out outcomes.parquet\n" +
			"  worker outcomes export --format csv --since 24h --status failed > failed.csv\n" +
			"  worker outcomes export --out november.ndjson --since 2026-11-01T00:00:00+08:00 --until 2026-12-01T00:00:00+08:00",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := f.formatOf(s)
			if err != nil {
				return err
			}
			return s.readOutcomes(cmd, &f.outcomeFlags, seenIDs, func(ctx context.Context, r *outcomeReading) error {
				e := &outcomesExport{outcomeReading: r, flags: &f, format: format, began: s.now()}
				if f.out == "" {
					return e.toStdout(ctx)
				}
				return e.toFile(ctx)
			})
		},
	}
	names := texts(export.Formats())
	cmd.Flags().StringVar(&f.format, "format", "", strings.Join(names, ", ")+"; what the name of --out ends in where it is left out")
	cmd.Flags().StringVar(&f.out, "out", "", "`FILE` to write; standard output where it is left out")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace the file where it exists")
	cmd.Flags().BoolVar(&f.rawCells, "raw-cells", false, "csv: leave cells as they are that a spreadsheet would run")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	f.add(s, cmd)
	s.useSettings(cmd, config.GroupKafka)
	showSettings(cmd, "topic-outcomes", "start-timeout")
	return cmd
}

// formatOf returns the format, and refuses flags that do not go together.
func (f *outcomesExportFlags) formatOf(s *state) (export.Format, error) {
	names := texts(export.Formats())
	format, found := export.Format(f.format), true
	if f.format == "" {
		format, found = export.FormatOf(f.out)
	}
	switch {
	case f.format == "" && !found:
		return "", &usageError{
			"which format? neither --format nor the name of --out says it", "give --format: " + strings.Join(names, ", "),
		}
	case f.out == "" && f.force:
		return "", usagef("--force replaces a file, and --out names none")
	case f.rawCells && format != export.FormatCSV:
		return "", usagef("--raw-cells is of csv; %s always has them as they are", format)
	case format == export.FormatParquet && f.out == "" && s.isTerminal(s.stdout):
		return "", &usageError{"parquet is nothing for a terminal", "give --out FILE, or send it into a pipe"}
	}
	return format, knownValues("--format", texts([]export.Format{format}), names)
}

// outcomesExport is one call of `outcomes export`.
type outcomesExport struct {
	*outcomeReading

	flags   *outcomesExportFlags
	format  export.Format
	began   time.Time
	guarded int64
	bytes   int64
}

// countingWriter counts what goes into the export.
type countingWriter struct {
	to io.Writer
	n  *int64
}

// Write implements io.Writer.
func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	*w.n += int64(n)
	return n, err //nolint:wrapcheck // the writer of the format says what it wrote
}

// write writes all outcomes that are wanted.
func (e *outcomesExport) write(ctx context.Context, to io.Writer) error {
	w := export.New(e.format, countingWriter{to, &e.bytes}, export.Options{
		RawCells: e.flags.rawCells, Program: "replyworker", Version: readVersion(e.s).Version,
	})
	if err := e.all(ctx, "outcomes export", w.Write); err != nil {
		return err
	}
	if csv, is := w.(*export.CSV); is {
		e.guarded = csv.Guarded()
	}
	return w.Close()
}

func (e *outcomesExport) toStdout(ctx context.Context) error {
	err := e.write(ctx, e.s.stdout)
	counts := e.picker.Counts()
	e.warnAll(counts)
	if err != nil {
		return e.stopped(ctx, err, "standard output has a part of them")
	}
	e.warnGuarded()
	e.summary(counts)
	return unreadable(counts)
}

func (e *outcomesExport) toFile(ctx context.Context) error {
	file, err := export.Create(e.flags.out, e.flags.force)
	if errors.Is(err, export.ErrExists) {
		return withHint(err, "give another name, or --force to replace it")
	}
	if err != nil {
		return err
	}
	defer file.Abort()
	err = e.write(ctx, file)
	counts := e.picker.Counts()
	e.warnAll(counts)
	if err != nil {
		return e.stopped(ctx, err, e.flags.out+" was not written")
	}
	if err := file.Commit(); err != nil {
		return withHint(err, "nothing of the export was kept")
	}
	e.warnGuarded()
	if err := e.print(counts); err != nil {
		return err
	}
	return unreadable(counts)
}

// warnGuarded tells that cells are not as they are in the topic.
func (e *outcomesExport) warnGuarded() {
	if e.guarded > 0 {
		_, _ = fmt.Fprintf(e.s.stderr, "worker: %d cells have a ' before them, so that no spreadsheet runs them; "+
			"--raw-cells leaves them as they are, and so do ndjson and parquet\n", e.guarded)
	}
}

// exportRow is the line of `outcomes export --out FILE -o json`.
type exportRow struct {
	File         string  `json:"file"`
	Format       string  `json:"format"`
	Outcomes     int64   `json:"outcomes"`
	Repeats      int64   `json:"repeats"`
	Unreadable   int64   `json:"unreadable"`
	GuardedCells int64   `json:"guarded_cells"`
	Bytes        int64   `json:"bytes"`
	Seconds      float64 `json:"seconds"`
}

func (e *outcomesExport) print(c outcome.Counts) error {
	row := exportRow{
		File: e.flags.out, Format: string(e.format), Outcomes: c.Picked, Repeats: c.Repeats, Unreadable: c.Unreadable,
		GuardedCells: e.guarded, Bytes: e.bytes, Seconds: e.s.now().Sub(e.began).Round(time.Millisecond).Seconds(),
	}
	number := func(title string, n int64) column[exportRow] {
		return column[exportRow]{title, func(exportRow) string { return number64(n) }}
	}
	return printRecords(e.s, []exportRow{row},
		column[exportRow]{"file", func(r exportRow) string { return r.File }},
		column[exportRow]{"format", func(r exportRow) string { return r.Format }},
		number("outcomes", row.Outcomes), number("repeats", row.Repeats), number("unreadable", row.Unreadable),
		number("bytes", row.Bytes),
		column[exportRow]{"seconds", func(r exportRow) string { return strconv.FormatFloat(r.Seconds, 'f', 3, 64) }},
	)
}

package result

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Table writes a result for people and for documents, in Markdown.
func (r *Result) Table(out io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`, %s, %s; %s", r.Command, r.At.Format("2006-01-02"), r.Commit, r.Machine)
	if len(r.Others) > 0 {
		fmt.Fprintf(&b, "; other processes had %.0f %% of the machine", 100*Quantile(r.Others, 0.5))
	}
	b.WriteString(".\n")
	r.singles(&b)
	var seen []string
	for _, f := range r.Figures {
		if f.Series != "" && !slices.Contains(seen, f.Name) {
			seen = append(seen, f.Name)
			r.curves(&b, f)
		}
	}
	_, _ = io.WriteString(out, b.String()) // Who reads it sees what is missing.
}

// singles is the table of the figures that are no curve.
func (r *Result) singles(b *strings.Builder) {
	head := "\n| " + r.Title + " | aim | median | least to greatest | runs |\n| --- | --- | ---: | ---: | ---: |\n"
	for _, f := range r.Figures {
		if f.Series != "" {
			continue
		}
		least, greatest := f.Spread()
		fmt.Fprintf(b, "%s| %s | %s | **%s** | %s to %s | %d |\n", head, f.Name, f.Aim.String(f.Unit), number(f.Median(), f.Unit),
			number(least, ""), number(greatest, ""), len(f.Values))
		head = ""
	}
}

// curves is the table of a figure with series: a line for each, a column for each point.
func (r *Result) curves(b *strings.Builder, of Figure) {
	series, points := r.Curve(of.Name)
	name := of.Name
	if of.Unit != "" {
		name += " (" + of.Unit + ")"
	}
	if i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == of.Name && f.Aim != nil }); i >= 0 {
		f := r.Figures[i]
		name += "; aim: " + f.Series + ", " + f.At + ", " + f.Aim.String(f.Unit)
	}
	fmt.Fprintf(b, "\n| %s | %s |\n| --- |%s\n", name, strings.Join(points, " | "), strings.Repeat(" ---: |", len(points)))
	for _, s := range series {
		fmt.Fprintf(b, "| %s |", s)
		for _, p := range points {
			f, ok := r.Find(of.Name, s, p)
			if !ok {
				b.WriteString(" |")
				continue
			}
			least, greatest := f.Spread()
			if least == greatest {
				fmt.Fprintf(b, " **%s** |", number(least, ""))
				continue
			}
			fmt.Fprintf(b, " **%s** (%s to %s) |", number(f.Median(), ""), number(least, ""), number(greatest, ""))
		}
		b.WriteString("\n")
	}
}

// Insert puts the tables of results into a document, between "<!-- measured: NAME -->" and
// "<!-- /measured -->". What stands there for other names stays.
func Insert(document, dir string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	made, err := insert(string(text), func(name string) (*Result, error) { return Read(dir, name) })
	if err != nil {
		return fmt.Errorf("tables in %s: %w", document, err)
	}
	if err := os.WriteFile(document, []byte(made), 0o644); err != nil { //nolint:gosec // Nothing secret.
		return fmt.Errorf("tables: %w", err)
	}
	return nil
}

func insert(text string, read func(name string) (*Result, error)) (string, error) {
	const begin, end, close = "<!-- measured: ", "<!-- /measured -->", " -->\n"
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, begin)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, named := strings.Cut(rest, close)
		old, after, ended := strings.Cut(rest, end)
		if !named || !ended {
			return "", fmt.Errorf("%q has no %q", begin+name, end)
		}
		r, err := read(name)
		if err != nil {
			return "", err
		}
		b.WriteString(begin + name + close)
		if r == nil {
			b.WriteString(old)
		} else {
			b.WriteString("\n")
			r.Table(&b)
			b.WriteString("\n")
		}
		b.WriteString(end)
		text = after
	}
}

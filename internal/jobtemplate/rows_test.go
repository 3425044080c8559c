package jobtemplate_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/jobtemplate"
)

// readAll returns each row as "line: cells" or "line! fault", and the error that ended it.
func readAll(text string) (got []string, err error) {
	rows, err := jobtemplate.NewRows(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	for {
		row, err := rows.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got, nil
		case err != nil:
			return got, err
		case row.Fault != "":
			got = append(got, fmt.Sprintf("%d! %s", row.Line, row.Fault))
		default:
			got = append(got, fmt.Sprintf("%d: %s", row.Line, strings.Join(row.Cells, "|")))
		}
	}
}

func TestRowsHaveTheLineThatTheyBeginOn(t *testing.T) {
	t.Parallel()
	got, err := readAll("\ufeffcomplaint_id,\"complainted_mchid\", note ,\r\n" +
		"c1,m1,\"two\r\nlines, \"\"quoted\"\"\",\r\n" +
		"\r\n" +
		",,,\r\n" +
		"c2,m2\r\n" +
		"c3,m3,a \"b\" c,\r\n" +
		"c4,m4,\"a \"b\" c\",\r\n" +
		"c5,m5,你好,x")
	require.NoError(t, err)
	require.Equal(t, []string{
		"2: c1|m1|two\nlines, \"quoted\"|",
		"6! has 2 cells, and the first row has 4",
		"7! has a quote in a cell that does not begin with one; put quotes around the cell and double those in it",
		"8! has a quote that is not closed, or one that is not doubled",
		"9: c5|m5|你好|x",
	}, got)

	got, err = readAll("complaint_id,complainted_mchid\nc1,m1\nc2,\"m2\nc3,m3\n")
	require.NoError(t, err)
	require.Equal(t, []string{"2: c1|m1", "3! has a quote that is not closed, or one that is not doubled, up to line 4"}, got)
}

func TestFilesThatAreNoCSV(t *testing.T) {
	t.Parallel()
	const good = "complaint_id,complainted_mchid,text\n"
	for _, tt := range []struct{ name, text, want, hint string }{
		{"empty", "\ufeff\n", "is empty; the first row must be the names of the columns", ""},
		{"workbook", "PK\x03\x04xxxx", "is a workbook, not a CSV file", "CSV UTF-8"},
		{"UTF-16", "\xff\xfec\x00o\x00", "is UTF-16, not UTF-8", "CSV UTF-8"},
		{"GBK", good + "c,m,x\nc,m,\xc4\xfa\xba\xc3\n", `line 3: column "text" is not UTF-8`, "GB18030"},
		{"GBK names", "\xcd\xb6\xcb\xdf,b\n", "line 1: cell 1 is not UTF-8", "GB18030"},
		{"semicolons", "complaint_id;complainted_mchid\n1;2\n", "line 1: has semicolons between its columns", "commas"},
		{"tabs", "complaint_id\tcomplainted_mchid\n1\t2\n", "line 1: has tabs between its columns", "commas"},
		{"old Mac", "complaint_id,complainted_mchid\rc,m\r", "line 1: has lines that end in a carriage return alone", "line ends"},
		{"twice", "a,complaint_id,a\n", `line 1: has two columns "a"`, "rename"},
		{
			"a column is missing", "complaint_id,complainted_mchId\n",
			`line 1: has no column "complainted_mchid"; there are "complaint_id", "complainted_mchId"`, "first row",
		},
		{"quote in the names", "a,\"b\"c\n", "line 1: has a quote that is not closed, or one that is not doubled", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readAll(tt.text)
			var format *jobtemplate.FormatError
			require.ErrorAs(t, err, &format)
			require.Equal(t, tt.want, format.Error())
			require.Contains(t, format.Hint, tt.hint)
		})
	}
}

// endless is a file that goes on, and counts what was read of it.
type endless struct {
	head  string
	bytes int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.head)
	e.head = e.head[n:]
	for i := n; i < len(p); i++ {
		p[i] = "text,\n"[i%6]
	}
	e.bytes += len(p)
	return len(p), nil
}

func TestAQuoteThatIsNeverClosedTakesNoMemory(t *testing.T) {
	t.Parallel()
	file := &endless{head: "complaint_id,complainted_mchid\nc1,m1\nc2,\"m2\n"}
	rows, err := jobtemplate.NewRows(file)
	require.NoError(t, err)
	_, err = rows.Next()
	require.NoError(t, err)
	_, err = rows.Next()
	require.EqualError(t, err, "has a row of more than 1048576 bytes, after the first 37 bytes of the file")
	require.Less(t, file.bytes, 2<<20)
}

var errAway = errors.New("disk is away")

func TestAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	rows, err := jobtemplate.NewRows(io.MultiReader(strings.NewReader("complaint_id,complainted_mchid\nc1,m1\nc2"),
		readerFunc(func([]byte) (int, error) { return 0, errAway })))
	require.NoError(t, err)
	_, err = rows.Next()
	require.NoError(t, err)
	_, err = rows.Next()
	require.ErrorIs(t, err, errAway)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

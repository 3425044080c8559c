package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"replyworker/internal/job"
)

// templateText makes a reply of a row; labels come last, so that the order of members can be seen.
const templateText = `{
  "message": {"blocks": [{"type": "TEXT", "text": {"text": "您好{{name}}"}}]},
  "complaint_id": "{{complaint_id}}",
  "complainted_mchid": "{{complainted_mchid}}",
  "labels": {"row": "{{row}}"}
}`

// csvRows is a CSV whose rows have two lines each, but the first.
func csvRows(n int) string {
	var b strings.Builder
	b.WriteString("\ufeffcomplaint_id,complainted_mchid,row,name\r\n")
	for i := range n {
		fmt.Fprintf(&b, "complaint-%d,1900012181,%d,\"小\n%d\"\r\n", i%7, i, i)
	}
	return b.String()
}

func TestEnqueueFromATemplate(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 5})
	template := writeFile(t, "reply.json", templateText)
	const n = 1200 // more than a batch
	for range 2 {  // the second time, every id is known
		got := runWith(t.Context(), env, strings.NewReader(csvRows(n)), "enqueue", "--template", template, "-o", "json")
		require.Equal(t, 0, got.status, got.stderr)
		require.Contains(t, got.stderr, "enqueue: 1200 of 1200, finished\n")
		require.Contains(t, got.stdout, `{"line":2,`)
		require.Contains(t, got.stdout, `{"line":2400,`)
	}
	ids := map[string]int{}
	contents := map[[32]byte]bool{}
	for _, r := range readTopic(t, broker, "reply-jobs", 2*n) {
		j, err := job.Decode(r.Value, job.Strict)
		require.NoError(t, err)
		require.Equal(t, j.ComplaintID, string(r.Key))
		ids[j.IdempotentID]++
		contents[j.Content] = true
		want := fmt.Sprintf(`{"idempotent_id":%q,"message":{"blocks":[{"type":"TEXT","text":{"text":"您好小\n%s"}}]},`+
			`"complaint_id":%q,"complainted_mchid":"1900012181","labels":{"row":%q}}`,
			j.IdempotentID, j.LabelPairs()["row"], j.ComplaintID, j.LabelPairs()["row"])
		require.Equal(t, want, string(r.Value))
	}
	require.Len(t, ids, n)
	require.Len(t, contents, n)
	for id, times := range ids {
		require.Equal(t, 2, times, id)
	}
}

func TestEnqueueFromATemplateListsEveryProblem(t *testing.T) {
	t.Parallel()
	template := writeFile(t, "reply.json", templateText)
	rows := "complaint_id,complainted_mchid,row,name\n" +
		"c1,m1,1,\"two\nlines\"\n" +
		"c2,m1,2\n" +
		"2.00202E+26,m1,3,x\n" +
		",m1,4,😀\n" +
		"c1,m1,5,\"two\nlines\"\n" +
		"c6,m1,6,a \"quoted\" word\n"
	env := []string{"REPLYWORKER_KAFKA_BROKERS=" + closedAddr(t)}
	got := runWith(t.Context(), env, strings.NewReader(rows), "enqueue", "--template", template)
	require.Equal(t, 1, got.status, got.stderr)
	require.Empty(t, got.stdout)
	golden(t, "enqueue-template-problems.txt", got.stderr)
}

func TestEnqueueFromATemplateThatIsNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, template, want string
	}{
		{
			"its own faults, once", strings.NewReplacer(`"TEXT"`, `"SONG"`, `"labels"`, `"label"`).Replace(templateText),
			"FILE: /message/blocks/0/type: \"SONG\" is not one of TEXT, IMAGE, LINK, FAQ_LIST, BUTTON, BUTTON_GROUP\n" +
				"FILE: /label: is not a known field\n" +
				"worker: FILE: no template of a job, 2 problems; nothing was produced\nhint: ",
		},
		{
			"one complaint", strings.ReplaceAll(templateText, `"{{complaint_id}}"`, `"2002"`),
			"FILE: /complaint_id: must be \"{{complaint_id}}\", nothing else: each row is a reply to its own complaint\n",
		},
		{
			"an unknown column", strings.ReplaceAll(templateText, "{{name}}", "{{nam}}{{amount}}"),
			"worker: FILE: standard input has no columns \"nam\", \"amount\"; there are \"complaint_id\", \"complainted_mchid\", " +
				"\"row\", \"name\"; nothing was produced\nhint: did you mean \"name\" for \"nam\"?\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "reply.json", tt.template)
			got := runWith(t.Context(), nil, strings.NewReader(csvRows(9)), "enqueue", "--dry-run", "--template", path)
			require.Equal(t, 1, got.status)
			require.Contains(t, strings.ReplaceAll(got.stderr, path, "FILE"), tt.want)
			require.Empty(t, got.stdout)
		})
	}
	got := run(t, nil, "enqueue", "--template", "none.json")
	require.Equal(t, result{1, "", "worker: open none.json: no such file or directory\n"}, got)
}

func TestEnqueueFromACSVThatIsNone(t *testing.T) {
	t.Parallel()
	template := writeFile(t, "reply.json", templateText)
	file := writeFile(t, "rows.csv", "complaint_id,complainted_mchid,row,name\nc,m,1,\xcd\xf5\xd0\xa1\xc3\xf7\n")
	got := run(t, nil, "enqueue", "--template", template, file)
	require.Equal(t, 1, got.status)
	require.Equal(t, "worker: "+file+": line 2: column \"name\" is not UTF-8; nothing was produced\n"+
		"hint: a spreadsheet's plain \"CSV\" is GBK where Windows is Chinese: save it as \"CSV UTF-8 (comma delimited)\", "+
		"or convert it: iconv -f GB18030 -t UTF-8 IN.csv > OUT.csv\n", got.stderr)

	got = run(t, nil, "enqueue", "--template", template, writeFile(t, "rows.csv", "complaint_id,complainted_mchid,row,name\n"))
	require.Equal(t, 0, got.status)
	require.Contains(t, got.stderr, "worker: no job in ")

	got = run(t, nil, "enqueue", writeFile(t, "rows.csv", csvRows(2)))
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "hint: --template FILE makes jobs of a CSV")
}

func TestEnqueuePrintsTheJobs(t *testing.T) {
	t.Parallel()
	_, env := startKafka(t, map[string]int{"reply-jobs": 1})
	template := writeFile(t, "reply.json", templateText)
	printed := runWith(t.Context(), nil, strings.NewReader(csvRows(5)), "enqueue", "--template", template, "--print-jobs", "--from-line=4")
	require.Equal(t, 0, printed.status, printed.stderr)
	require.Equal(t, "worker: 4 jobs are valid; nothing was produced\n", printed.stderr)
	require.Equal(t, 4, strings.Count(printed.stdout, "\n"))

	rows := runWith(t.Context(), nil, strings.NewReader(csvRows(5)), "enqueue", "--template", template, "--dry-run", "-o=json")
	again := runWith(t.Context(), env, strings.NewReader(printed.stdout), "enqueue", "-o=json")
	require.Equal(t, 0, again.status, again.stderr)
	require.Equal(t, idsOf(t, rows.stdout)[1:], idsOf(t, again.stdout), "what is printed is what is sent")

	var pretty strings.Builder
	pretty.WriteString("{\n" + jobLine("c", "i", "x")[1:])
	printed = runWith(t.Context(), nil, strings.NewReader(pretty.String()), "enqueue", "--print-jobs")
	require.Equal(t, 0, printed.status, printed.stderr)
	require.Equal(t, 1, strings.Count(printed.stdout, "\n"))
	require.JSONEq(t, jobLine("c", "i", "x"), printed.stdout)
}

func idsOf(t *testing.T, lines string) []string {
	t.Helper()
	var ids []string
	for line := range strings.Lines(lines) {
		var row struct {
			IdempotentID string `json:"idempotent_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		ids = append(ids, row.IdempotentID)
	}
	return ids
}

func TestEnqueueFromATemplateGoesOnFromALineOfTheCSV(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 1})
	refuseProduce(broker, 2, kerr.TopicAuthorizationFailed, nil)
	template := writeFile(t, "reply.json", templateText)
	file := writeFile(t, "rows.csv", csvRows(1500))
	got := run(t, env, "enqueue", "--template", template, file)
	require.Equal(t, 3, got.status, got.stderr)
	from := regexp.MustCompile(`go on with --from-line (\d+);`).FindStringSubmatch(got.stderr)
	require.NotNil(t, from, got.stderr)
	require.Equal(t, "2002", from[1])

	broker2, env2 := startKafka(t, map[string]int{"reply-jobs": 1})
	got = run(t, env2, "enqueue", "--template", template, file, "--from-line", from[1])
	require.Equal(t, 0, got.status, got.stderr)
	seen := map[string]bool{}
	for _, r := range append(readTopic(t, broker, "reply-jobs", 1000), readTopic(t, broker2, "reply-jobs", 500)...) {
		seen[string(r.Value)] = true
	}
	require.Len(t, seen, 1500, "each row once")
}

// TestTheDocumentsTemplateMakesJobs tries what docs/producers.md shows.
func TestTheDocumentsTemplateMakesJobs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "producers.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "## From a spreadsheet\n")
	require.True(t, found)
	block := func(kind string) string {
		_, rest, found := strings.Cut(section, "```"+kind+"\n")
		require.True(t, found, kind)
		body, _, _ := strings.Cut(rest, "```")
		return body
	}
	got := runWith(t.Context(), nil, strings.NewReader(block("csv")), "enqueue", "--template", writeFile(t, "t.json", block("json")), "--print-jobs")
	require.Equal(t, 0, got.status, got.stderr)
	require.Contains(t, got.stdout, `"text":"您好李先生\n（会员），退款8.00元已原路退回"`)
	require.Equal(t, "worker: 2 jobs are valid; nothing was produced\n", got.stderr)
}

package cli_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/devstack"
	"replyworker/internal/wxsim"
)

// scriptWorld is what one script has around it.
type scriptWorld struct {
	tb       testing.TB
	stack    *devstack.Stack // nil before the stack command
	programs map[string]*scriptProgram
	silent   map[string]*atomic.Int64 // connections that silent servers took, by variable
}

// scriptWorldKey finds the world among a script's values.
type scriptWorldKey struct{}

func world(ts *testscript.TestScript) *scriptWorld {
	w, ok := ts.Value(scriptWorldKey{}).(*scriptWorld)
	if !ok {
		ts.Fatalf("the script has no world")
	}
	return w
}

// stackOf returns the stack of a script that has started one.
func stackOf(ts *testscript.TestScript) *devstack.Stack {
	stack := world(ts).stack
	if stack == nil {
		ts.Fatalf("there is no stack: call the stack command first")
	}
	return stack
}

// scriptFlags are the flags of a script's command, which says itself how it is used where they are wrong.
func scriptFlags() *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

func scriptStack(ts *testscript.TestScript, neg bool, args []string) {
	fs := scriptFlags()
	partitions := fs.Int("partitions", 3, "")
	noTopics := fs.Bool("notopics", false, "")
	err := fs.Parse(args)
	usage(ts, !neg && err == nil && fs.NArg() == 0, "stack [-partitions=N] [-notopics]")
	w := world(ts)
	if w.stack != nil {
		ts.Fatalf("there is a stack already")
	}
	stack, err := devstack.Start(devstack.Config{Partitions: *partitions, Seed: 1})
	ts.Check(err)
	w.stack = stack
	w.tb.Cleanup(stack.Close)
	w.tb.Cleanup(w.interrupt) // before the stack closes
	if *noTopics {
		ts.Check(withKafka(stack, func(ctx context.Context, client *kgo.Client) error {
			_, err := kadm.NewClient(client).DeleteTopics(ctx, slices.Collect(maps.Keys(devstack.Topics(1)))...)
			return err
		}))
	}
	for _, entry := range append(stack.Env(), "REPLYWORKER_ADMIN_ADDR=127.0.0.1:0") {
		name, value, _ := strings.Cut(entry, "=")
		ts.Setenv(name, value)
	}
}

func scriptFault(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "fault JSON")
	text := strings.TrimSpace(args[0])
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	var faults []wxsim.Fault
	ts.Check(json.Unmarshal([]byte(text), &faults))
	for _, f := range faults {
		ts.Check(f.Validate())
	}
	ts.Check(stackOf(ts).Sim.Set(faults...))
}

func scriptNoFault(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "nofault")
	ts.Check(stackOf(ts).Sim.Clear())
}

func scriptEffects(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "effects N [COMPLAINT_ID]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := stackOf(ts).Sim.Effects()
	if len(args) == 2 {
		got = slices.DeleteFunc(got, func(e wxsim.Effect) bool { return e.ComplaintID != args[1] })
	}
	if len(got) != want {
		ts.Fatalf("the API has taken %d replies, want %d: %+v", len(got), want, got)
	}
}

// withKafka calls do with a client that is not the product's.
func withKafka(stack *devstack.Stack, do func(context.Context, *kgo.Client) error, opts ...kgo.Opt) error {
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(stack.Kafka.Addr()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}

func scriptProduce(ts *testscript.TestScript, neg bool, args []string) {
	const how = "produce [-partition=N] [-at=RFC3339] [-lines] [-null] TOPIC KEY [FILE] [HEADER=VALUE...]"
	fs := scriptFlags()
	partition := fs.Int("partition", -1, "")
	at := fs.String("at", "", "")
	lines := fs.Bool("lines", false, "")
	null := fs.Bool("null", false, "")
	err := fs.Parse(args)
	usage(ts, !neg && err == nil && fs.NArg() >= 2 && (*null || fs.NArg() >= 3), how)
	record := kgo.Record{Topic: fs.Arg(0), Partition: int32(max(0, *partition))}
	if fs.Arg(1) != "-" {
		record.Key = []byte(fs.Arg(1))
	}
	if *at != "" {
		record.Timestamp, err = time.Parse(time.RFC3339, *at)
		ts.Check(err)
	}
	rest := fs.Args()[2:]
	values := [][]byte{nil}
	if !*null {
		values = scriptValues(ts.ReadFile(rest[0]), *lines)
		rest = rest[1:]
	}
	for _, header := range rest {
		name, value, found := strings.Cut(header, "=")
		usage(ts, found, how)
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	opts := []kgo.Opt{}
	if *partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	ts.Check(withKafka(stackOf(ts), func(ctx context.Context, client *kgo.Client) error {
		for _, value := range values {
			one := record
			one.Value = value
			if err := client.ProduceSync(ctx, &one).FirstErr(); err != nil {
				return fmt.Errorf("produce to %s: %w", one.Topic, err)
			}
		}
		return nil
	}, opts...))
}

// scriptValues returns the values that a file has: the file, or each of its lines.
func scriptValues(text string, lines bool) [][]byte {
	if !lines {
		return [][]byte{[]byte(text)}
	}
	var values [][]byte
	for line := range strings.Lines(text) {
		values = append(values, []byte(strings.TrimSuffix(line, "\n")))
	}
	return values
}

// scriptRecord is a line of the records command.
type scriptRecord struct {
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	At        string            `json:"at"`
	Key       *string           `json:"key"`
	Value     *string           `json:"value"`
	Headers   map[string]string `json:"headers"`
}

func newScriptRecord(r *kgo.Record) scriptRecord {
	row := scriptRecord{
		Partition: r.Partition, Offset: r.Offset, At: r.Timestamp.UTC().Format(time.RFC3339Nano),
		Headers: map[string]string{},
	}
	if r.Key != nil {
		row.Key = new(string(r.Key))
	}
	if r.Value != nil {
		row.Value = new(string(r.Value))
	}
	for _, h := range r.Headers {
		row.Headers[h.Key] = string(h.Value)
	}
	return row
}

func scriptRecords(ts *testscript.TestScript, neg bool, args []string) {
	fs := scriptFlags()
	least := fs.Int("wait", 0, "")
	err := fs.Parse(args)
	usage(ts, !neg && err == nil && fs.NArg() == 1, "records [-wait=N] TOPIC")
	var rows []scriptRecord
	eventually(ts, fmt.Sprintf("%d records in %s", *least, fs.Arg(0)), func() bool {
		ts.Check(withKafka(stackOf(ts), func(ctx context.Context, client *kgo.Client) (err error) {
			rows, err = readRecords(ctx, client, fs.Arg(0))
			return err
		}, kgo.KeepControlRecords()))
		return len(rows) >= *least
	})
	slices.SortFunc(rows, func(a, b scriptRecord) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	encoder := json.NewEncoder(ts.Stdout())
	encoder.SetEscapeHTML(false)
	for _, row := range rows {
		ts.Check(encoder.Encode(row))
	}
}

// readRecords returns the records of a topic, up to where its partitions end now.
func readRecords(ctx context.Context, client *kgo.Client, topic string) (rows []scriptRecord, err error) {
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("starts of %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	left := map[int32]int64{} // partitions with records, and where each ends
	from := map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, found := starts.Lookup(topic, end.Partition); found && start.Offset < end.Offset {
			left[end.Partition] = end.Offset
			from[end.Partition] = kgo.NewOffset().At(start.Offset)
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				rows = append(rows, newScriptRecord(r))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return rows, ends.Error()
}

func scriptDown(ts *testscript.TestScript, neg bool, args []string) {
	parts := map[string]func(){
		"kafka": func() { stackOf(ts).Kafka.Close() },
		"redis": func() { stackOf(ts).Redis.Mini().Close() },
		"api":   func() { ts.Check(stackOf(ts).Sim.Close()) },
	}
	usage(ts, !neg && len(args) == 1 && parts[args[0]] != nil, "down kafka|redis|api")
	parts[args[0]]()
}

// scriptSilent starts a server that takes connections and says nothing.
func scriptSilent(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "silent VARIABLE")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	served := make(chan struct{})
	connections := &atomic.Int64{}
	world(ts).silent[args[0]] = connections
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			defer func() { _ = conn.Close() }() // when the server ends, not before
		}
	}()
	world(ts).tb.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	ts.Setenv(args[0], listener.Addr().String())
}

func scriptConnected(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1 && world(ts).silent[args[0]] != nil, "connected VARIABLE")
	eventually(ts, "somebody to connect to "+args[0], func() bool { return world(ts).silent[args[0]].Load() > 0 })
}

func scriptFlushRedis(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "flushredis")
	stackOf(ts).Redis.Mini().FlushAll()
}

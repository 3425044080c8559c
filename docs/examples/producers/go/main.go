// Command replyworker-example puts a reply job on Kafka for each reply on standard input.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reply is what your system has decided to say. IdempotentID was made then, once, and is kept with it.
type reply struct {
	ComplaintID      string `json:"complaint_id"`
	ComplaintedMchID string `json:"complainted_mchid"`
	IdempotentID     string `json:"idempotent_id"`
	Text             string `json:"text"`
}

type (
	job struct {
		ComplaintID      string  `json:"complaint_id"`
		ComplaintedMchID string  `json:"complainted_mchid"`
		IdempotentID     string  `json:"idempotent_id"`
		Message          message `json:"message"`
	}
	message struct {
		Blocks         []block `json:"blocks"`
		SenderIdentity string  `json:"sender_identity"`
	}
	block struct {
		Type string `json:"type"`
		Text text   `json:"text"`
	}
	text struct {
		Text string `json:"text"`
	}
)

func newJob(r reply) ([]byte, error) {
	return json.Marshal(job{r.ComplaintID, r.ComplaintedMchID, r.IdempotentID, message{
		Blocks:         []block{{Type: "TEXT", Text: text{r.Text}}},
		SenderIdentity: "MACHINE",
	}})
}

func run(ctx context.Context) error {
	brokers := cmp.Or(os.Getenv("KAFKA_BROKERS"), "127.0.0.1:9092")
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.DefaultProduceTopic(cmp.Or(os.Getenv("TOPIC_JOBS"), "reply-jobs")),
		// These two are the client's defaults: acks=all with idempotent writes, and murmur2 as Java has it.
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.RecordDeliveryTimeout(30*time.Second), // by default it tries for ever
	)
	if err != nil {
		return err
	}
	defer client.Close()

	failed := 0 // the client calls back from one goroutine, and Flush comes after it
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		value, err := newJob(r)
		if err != nil {
			return err
		}
		record := &kgo.Record{Key: []byte(r.ComplaintID), Value: value}
		client.Produce(ctx, record, func(acked *kgo.Record, err error) {
			if err != nil {
				failed++
				fmt.Fprintf(os.Stderr, "not acknowledged: %s: %v\n", r.IdempotentID, err)
				return
			}
			fmt.Println(acked.Partition, acked.Offset, r.IdempotentID)
		})
	}
	if err := client.Flush(ctx); err != nil { // waits for every acknowledgement
		return err
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d not acknowledged: produce them again, with the same idempotent_id", failed)
	}
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

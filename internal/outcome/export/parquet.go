package export

import (
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"

	"replyworker/internal/outcome"
)

const (
	// groupRows and groupBytes, of values as they stand in the topic, bound a row group, which is kept in
	// memory until it is written.
	groupRows  = 100_000
	groupBytes = 32 << 20
)

// row is an outcome in Parquet. Columns stay; new ones are added at the end.
type row struct {
	ID               string            `parquet:"ce_id"`
	SchemaVersion    int64             `parquet:"schema_version"`
	Status           string            `parquet:"status,dict"`
	Reason           string            `parquet:"reason,dict"`
	IdempotentID     string            `parquet:"idempotent_id"`
	ComplaintID      string            `parquet:"complaint_id"`
	ComplaintedMchID string            `parquet:"complainted_mchid,dict"`
	MchID            string            `parquet:"mchid,dict"`
	LogID            string            `parquet:"log_id"`
	ContentSHA256    string            `parquet:"content_sha256"`
	Attempts         int64             `parquet:"attempts"`
	MaybeSent        bool              `parquet:"maybe_sent"`
	Host             string            `parquet:"host,dict"`
	HTTPStatus       int64             `parquet:"http_status"`
	ErrorCode        string            `parquet:"error_code,dict"`
	ErrorMessage     string            `parquet:"error_message,dict"`
	RequestID        string            `parquet:"request_id"`
	EnqueuedAt       *time.Time        `parquet:"enqueued_at,optional,timestamp(millisecond)"`
	StartedAt        *time.Time        `parquet:"started_at,optional,timestamp(millisecond)"`
	FinishedAt       *time.Time        `parquet:"finished_at,optional,timestamp(millisecond)"`
	QueueMS          int64             `parquet:"queue_ms"`
	ProcessingMS     int64             `parquet:"processing_ms"`
	EndToEndMS       int64             `parquet:"end_to_end_ms"`
	ReplayCount      int64             `parquet:"replay_count"`
	Labels           map[string]string `parquet:"labels"`
	Source           source            `parquet:"source"`
}

type source struct {
	Topic     string `parquet:"topic,dict"`
	Partition int64  `parquet:"partition"`
	Offset    int64  `parquet:"offset"`
}

// Parquet writes outcomes as a Parquet file: times as timestamps, null where they are not known, labels as
// a map, the source as a group.
type Parquet struct {
	to    *parquet.GenericWriter[row]
	rows  int
	bytes int
}

// NewParquet makes a Parquet.
func NewParquet(to io.Writer, o Options) *Parquet {
	return &Parquet{to: parquet.NewGenericWriter[row](to,
		parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy(o.Program, o.Version, ""),
	)}
}

// Write writes an outcome.
func (p *Parquet) Write(r *outcome.Record) error {
	if _, err := p.to.Write([]row{rowOf(r)}); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	p.rows++
	p.bytes += len(r.Value)
	if p.rows < groupRows && p.bytes < groupBytes {
		return nil
	}
	p.rows, p.bytes = 0, 0
	if err := p.to.Flush(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

func rowOf(r *outcome.Record) row {
	return row{
		ID: r.ID, SchemaVersion: int64(r.SchemaVersion), Status: string(r.Status), Reason: string(r.Reason),
		IdempotentID: r.IdempotentID, ComplaintID: r.ComplaintID, ComplaintedMchID: r.ComplaintedMchID, MchID: r.MchID,
		LogID: r.LogID, ContentSHA256: r.ContentSHA256, Attempts: int64(r.Attempts), MaybeSent: r.MaybeSent,
		Host: r.Host, HTTPStatus: int64(r.HTTPStatus), ErrorCode: r.ErrorCode, ErrorMessage: r.ErrorMessage,
		RequestID:  r.RequestID,
		EnqueuedAt: known(r.Times.Enqueued), StartedAt: known(r.Times.Started), FinishedAt: known(r.Times.Finished),
		QueueMS: r.QueueMS, ProcessingMS: r.ProcessingMS, EndToEndMS: r.EndToEndMS, ReplayCount: int64(r.ReplayCount),
		Labels: r.Labels,
		Source: source{Topic: r.Source.Topic, Partition: int64(r.Source.Partition), Offset: r.Source.Offset},
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Close writes what is left, and the end without which it is no Parquet file.
func (p *Parquet) Close() error {
	if err := p.to.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

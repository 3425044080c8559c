package job_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
)

func TestSourceIDTellsATopicMadeAnew(t *testing.T) {
	t.Parallel()
	s := job.Source{Topic: "reply-jobs", Partition: 3, Offset: 1041, Timestamp: time.UnixMilli(1_790_000_000_123)}
	require.Equal(t, "reply-jobs/3/1041/1790000000123", s.ID())
	again := s
	again.Timestamp = s.Timestamp.Add(time.Millisecond)
	require.NotEqual(t, s.ID(), again.ID())
}

func TestHeaderReturnsTheLastOfItsName(t *testing.T) {
	t.Parallel()
	d := &job.Delivery{
		Key: []byte("k"), Value: []byte("value"),
		Headers: []job.Header{{"a", []byte("1")}, {"b", nil}, {"a", []byte("2")}},
	}
	value, ok := d.Header("a")
	require.True(t, ok)
	require.Equal(t, "2", value)
	value, ok = d.Header("b")
	require.True(t, ok, "a null header is there")
	require.Empty(t, value)
	_, ok = d.Header("A")
	require.False(t, ok)
	require.Equal(t, 1+5+2+1+2, d.Size())
}

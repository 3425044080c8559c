package kafkaio

import (
	"context"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// spoken is the versions of each kind of request that this program can use: those of kafka-go, and of
// its consumer groups, which ask for one fixed version where the two are the same.
var spoken = []struct {
	api       protocol.ApiKey
	low, high int16
}{
	{protocol.Produce, 3, 8},
	{protocol.Fetch, minFetch, maxFetch},
	{protocol.ListOffsets, 1, 5},
	{protocol.Metadata, 1, 8},
	{protocol.FindCoordinator, 0, 0},
	{protocol.JoinGroup, 1, 2},
	{protocol.SyncGroup, 0, 0},
	{protocol.Heartbeat, 0, 0},
	{protocol.LeaveGroup, 0, 0},
	{protocol.OffsetCommit, 2, 2},
	{protocol.OffsetFetch, 1, 1},
}

// UnspokenError says which kinds of requests a broker does not speak as this program does.
type UnspokenError struct{ Requests []string }

func (e *UnspokenError) Error() string {
	return "the broker does not speak " + strings.Join(e.Requests, ", ")
}

// Knock connects to one address and asks which versions of the protocol it speaks. It logs in nowhere.
// Its error is an *UnspokenError where the broker answers and is too old, or too new, for this program.
func (c *Client) Knock(ctx context.Context, address string) error {
	conn, err := c.transport.Dial(ctx, "tcp", address)
	if err != nil {
		return err //nolint:wrapcheck // it says what was dialled
	}
	defer conn.Close() //nolint:errcheck // it has served
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err //nolint:wrapcheck // a net.Conn's own
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // a read does not know of ctx
	m, err := protocol.NewConn(conn, clientID).RoundTrip(&apiversions.Request{})
	if err != nil {
		return fmt.Errorf("ask for its versions: %w", err)
	}
	res := m.(*apiversions.Response)
	if res.ErrorCode != 0 {
		return fmt.Errorf("ask for its versions: %w", kafka.Error(res.ErrorCode))
	}
	return speaks(res.ApiKeys)
}

// speaks returns an *UnspokenError where there is a kind of request without a version in common.
func speaks(offered []apiversions.ApiKeyResponse) error {
	of := map[protocol.ApiKey]apiversions.ApiKeyResponse{}
	for _, o := range offered {
		of[protocol.ApiKey(o.ApiKey)] = o
	}
	var unspoken []string
	for _, s := range spoken {
		switch o, ok := of[s.api]; {
		case !ok:
			unspoken = append(unspoken, s.api.String())
		case o.MaxVersion < s.low || o.MinVersion > s.high:
			unspoken = append(unspoken, fmt.Sprintf("%s in version %d to %d (it has %d to %d)",
				s.api, s.low, s.high, o.MinVersion, o.MaxVersion))
		}
	}
	if unspoken != nil {
		return &UnspokenError{Requests: unspoken}
	}
	return nil
}

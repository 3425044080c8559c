package replay

import (
	"context"
	"slices"

	"replyworker/internal/deadletter"
)

// Discard writes that letters are discarded, and returns how many. An end of ctx stops it between two
// steps; after an error the letters of the last step may be discarded all the same.
func Discard(
	ctx context.Context, kafka Kafka, x *deadletter.Index, topic string, letters []*deadletter.Letter,
	by Signature, progress func(letters int),
) (int, error) {
	limit := kafka.MaxMessageBytes(ctx, topic)
	done := 0
	for batch := range slices.Chunk(letters, batchLetters) {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		step, cancel := through(ctx, stepTimeout)
		err := writeResolutions(step, kafka, x, topic, limit, batch, deadletter.StatusDiscarded, by)
		cancel()
		if err != nil {
			return done, err
		}
		done += len(batch)
		progress(len(batch))
	}
	return done, nil
}

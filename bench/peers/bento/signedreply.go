package main

import (
	"context"
	"fmt"

	"github.com/warpstreamlabs/bento/public/service"

	"replyworker/bench/peers/signedcall"
)

// refusedKey is the metadata that says why the API will not take a job however often it is sent. Bento's
// retry repeats every error, so that this one must not look like one until the retry is left.
const refusedKey = "refused"

// registerSignedReply makes the processor signed_reply known: it replaces a job by its outcome.
func registerSignedReply() error {
	spec := service.NewConfigSpec().
		Summary("Sends a reply job in one signed call and becomes its outcome. Settings come from BENCH_ variables.")
	err := service.RegisterProcessor("signed_reply", spec,
		func(*service.ParsedConfig, *service.Resources) (service.Processor, error) { return newSignedReply() })
	if err != nil {
		return fmt.Errorf("register signed_reply: %w", err)
	}
	return nil
}

// signedReply is safe for concurrent use.
type signedReply struct{ client *signedcall.Client }

func newSignedReply() (service.Processor, error) {
	settings, err := signedcall.FromEnvironment()
	if err != nil {
		return nil, err
	}
	client, err := signedcall.New(settings)
	if err != nil {
		return nil, err
	}
	return &signedReply{client}, nil
}

// Process is one attempt of one job.
func (s *signedReply) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	value, err := msg.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	outcome, err := s.attempt(ctx, value)
	if signedcall.IsPermanent(err) {
		msg.MetaSetMut(refusedKey, err.Error())
		return service.MessageBatch{msg}, nil
	}
	if err != nil {
		return nil, err
	}
	msg.SetBytes(outcome)
	return service.MessageBatch{msg}, nil
}

func (s *signedReply) attempt(ctx context.Context, value []byte) (outcome []byte, err error) {
	job, err := signedcall.ParseJob(value)
	if err != nil {
		return nil, err
	}
	logID, err := s.client.Send(ctx, job)
	if err != nil {
		return nil, err
	}
	return job.Succeeded(logID), nil
}

// Close has nothing to close: idle connections end with the process.
func (s *signedReply) Close(context.Context) error { return nil }

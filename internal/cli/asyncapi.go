package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"replyworker/internal/asyncapi"
	"replyworker/internal/config"
	"replyworker/internal/job"
)

const asyncAPILong = `Print the AsyncAPI 3.0 document of the four topics: their messages with keys, headers and the schemas that
` + "`worker schema`" + ` prints, and Kafka bindings 0.5.0. Documentation and clients can be made of it.

Brokers, topics, consumer group, security and the validation of jobs are those of the configuration; no
broker is asked. With -o json it is one line of JSON, otherwise YAML. It has no secrets in it.`

func newAsyncAPICommand(s *state) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "asyncapi [flags]",
		Short:             "print the AsyncAPI document of the topics",
		Long:              asyncAPILong,
		GroupID:           groupSetup,
		Example:           "  worker asyncapi > asyncapi.yaml\n  worker asyncapi -o json | jq .channels",
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			return s.printAsyncAPI(cfg)
		},
	}
	s.useSettings(cmd, config.GroupKafka, config.GroupTopics)
	showSettings(cmd, "merchants-file", "validation")
	return cmd
}

func (s *state) printAsyncAPI(cfg *config.Config) error {
	described := asyncapi.Config{
		Brokers: cfg.KafkaBrokers, TLS: cfg.KafkaTLS, Certificate: cfg.KafkaCertFile != "", SASL: cfg.KafkaSASLMechanism,
		Group: cfg.KafkaGroup, Jobs: cfg.JobsTopics(), Outcomes: cfg.TopicOutcomes, DeadLetters: cfg.TopicDeadLetters,
		Resolutions: cfg.TopicResolutions, Validation: job.Validation(cfg.Validation),
	}
	var text []byte
	var err error
	if s.output == outputJSON {
		text, err = asyncapi.JSON(described)
		text = append(text, '\n')
	} else {
		text, err = asyncapi.YAML(described)
	}
	if err != nil {
		return fmt.Errorf("asyncapi: %w", err)
	}
	if _, err := s.stdout.Write(text); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

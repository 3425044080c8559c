package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/doctor"
)

var doctorSample = doctor.Group{Title: "Kafka", Results: []doctor.Result{
	{Name: "brokers", Status: doctor.Passed, Detail: "3 brokers"},
	{Name: "topic \x1b[2Jjobs", Status: doctor.Failed, Detail: "a\nb", Hint: "make \x07it"},
	{Name: "lag", Status: doctor.Skipped, Detail: "no group"},
}}

// TestDoctorTable holds that lines are aligned, that what comes from elsewhere is harmless, and that
// colours are for terminals.
func TestDoctorTable(t *testing.T) {
	t.Parallel()
	s, stdout, _ := newTestState()
	p := &doctorPrinter{s: s, counts: map[doctor.Status]int{}}
	require.NoError(t, p.group(doctorSample))
	require.NoError(t, p.sum())
	require.Equal(t, `Kafka
  passed   brokers            3 brokers
  failed   topic \x1b[2Jjobs  a\nb
                              -> make \ait
  skipped  lag                no group

3 checks: 1 passed, 0 warned, 1 failed, 1 skipped
`, stdout.String())

	s, stdout, _ = newTestState()
	s.isTerminal = func(any) bool { return true }
	p = &doctorPrinter{s: s, problems: true, counts: map[doctor.Status]int{}}
	require.NoError(t, p.group(doctorSample))
	require.Equal(t,
		"Kafka\n  \x1b[1;31mfailed\x1b[0m   topic \\x1b[2Jjobs  a\\nb\n                              -> make \\ait\n", stdout.String())

	s, stdout, _ = newTestState()
	s.isTerminal, s.env = func(any) bool { return true }, []string{"NO_COLOR=1"}
	p = &doctorPrinter{s: s, problems: true, counts: map[doctor.Status]int{}}
	require.NoError(t, p.group(doctorSample))
	require.NotContains(t, stdout.String(), "\x1b")
}

func TestDoctorWithoutProblems(t *testing.T) {
	t.Parallel()
	s, stdout, _ := newTestState()
	p := &doctorPrinter{s: s, problems: true, counts: map[doctor.Status]int{}}
	require.NoError(t, p.group(doctor.Group{Title: "Kafka", Results: doctorSample.Results[:1]}))
	require.NoError(t, p.sum())
	require.Equal(t, "1 checks: 1 passed, 0 warned, 0 failed, 0 skipped\n", stdout.String(), "a group without any is left out")
}

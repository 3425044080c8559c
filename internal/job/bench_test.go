package job_test

import (
	"testing"

	"replyworker/internal/job"
)

func BenchmarkDecode(b *testing.B) {
	value := []byte(contractExample)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := job.Decode(value, job.Strict); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeInvalid(b *testing.B) {
	value := []byte(withMessage(`{"blocks":[{"type":"TEX"}]}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := job.Decode(value, job.Strict); err == nil {
			b.Fatal("an invalid job was taken")
		}
	}
}

func BenchmarkBody(b *testing.B) {
	j, err := job.Decode([]byte(contractExample), job.Strict)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		j.Body()
	}
}

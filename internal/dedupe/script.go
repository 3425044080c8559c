package dedupe

import (
	"embed"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// scripts are the programs that a Store runs, one per step.
type scripts struct {
	claim, begin, renew, park, complete, fail, published, lookup, restore *redis.Script
	hold, holdHasten, holdProbe, holdProbeDone, holdRenew                 *redis.Script
	lock, unlock, pace, paceLearn, ping                                   *redis.Script
}

func loadScripts() scripts {
	const prelude, job, holds = "prelude", "job", "holds"
	return scripts{
		claim:     script(prelude, job, "claim"),
		begin:     script(prelude, job, "begin"),
		renew:     script(prelude, "renew"),
		park:      script(prelude, job, "park"),
		complete:  script(prelude, job, "complete"),
		fail:      script(prelude, job, "fail"),
		published: script(prelude, job, "published"),
		lookup:    script(prelude, job, "lookup"),
		restore:   script(prelude, job, "restore"),

		hold:          script(prelude, holds, "hold"),
		holdHasten:    script(prelude, holds, "hold_hasten"),
		holdProbe:     script(prelude, holds, "hold_probe"),
		holdProbeDone: script(prelude, holds, "hold_probe_done"),
		holdRenew:     script(prelude, holds, "hold_renew"),

		pace:      script(prelude, "pace"),
		paceLearn: script(prelude, "pace_learn"),

		lock:   script(prelude, "lock"),
		unlock: script("unlock"),

		ping: script("ping"),
	}
}

// script joins files to one program. They are compiled in, so a missing one is a fault of the build.
func script(files ...string) *redis.Script {
	var text []byte
	for _, name := range files {
		part, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(fmt.Sprintf("dedupe: %v", err))
		}
		text = append(text, part...)
	}
	return redis.NewScript(string(text))
}

// reader takes a script's answer apart, field by field. The first fault stays in err.
type reader struct {
	fields []string
	next   int
	err    error
}

func (r *reader) text() string {
	if r.next >= len(r.fields) {
		if r.err == nil {
			r.err = fmt.Errorf("%w: only %d fields", errAnswer, len(r.fields))
		}
		return ""
	}
	r.next++
	return r.fields[r.next-1]
}

func (r *reader) int64() int64 {
	text := r.text()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: field %d is no number: %q", errAnswer, r.next, text)
	}
	return n
}

func (r *reader) uint64() uint64 { return uint64(max(0, r.int64())) }

func (r *reader) float64() float64 {
	text := r.text()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: field %d is no number: %q", errAnswer, r.next, text)
	}
	return n
}

func (r *reader) int() int { return int(r.int64()) }

func (r *reader) bool() bool { return r.text() == "1" }

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/replay"
)

// edit lets the operator change the job of the one letter of the plan, and sends it.
func (r *replaying) edit(ctx context.Context) error {
	item := r.plan.Items[0]
	if item.Verdict == replay.Replayed {
		return fmt.Errorf("letter %s is replayed already; nothing was sent", item.Letter.ID)
	}
	value, err := r.valueOf(ctx, item.Letter)
	if err != nil {
		return err
	}
	path, err := fileForEditor(item.Letter, value)
	if err != nil {
		return err
	}
	if err := r.sendEdited(ctx, item.Letter, value, path); err != nil || r.flags.dryRun {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: what you wrote is kept in %s\n", path)
		return err
	}
	_ = os.Remove(path) // it has the text of a reply, and is sent
	return nil
}

// sendEdited opens the file of a letter's job in the editor, and sends what has become of it.
func (r *replaying) sendEdited(ctx context.Context, l *deadletter.Letter, value []byte, path string) error {
	mended, err := r.editJob(ctx, value, path)
	if err != nil {
		return err
	}
	item, err := r.planMended(ctx, l, mended)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(r.s.stderr, "worker: idempotent_id %s, complaint %s: %s\n",
		clean(item.Letter.IdempotentID), clean(item.Letter.ComplaintID), item.Verdict.Meaning())
	if r.flags.dryRun {
		_, _ = fmt.Fprintln(r.s.stderr, "worker: nothing was sent")
		return nil
	}
	r.flags.note = strings.TrimSpace(r.flags.note + " (edited: idempotent_id " + item.Letter.IdempotentID + ")")
	return r.send(ctx, []replay.Item{item})
}

func (r *replaying) valueOf(ctx context.Context, l *deadletter.Letter) (value []byte, err error) {
	err = replay.EachLetter(ctx, r.kafka, r.cfg.TopicDeadLetters, r.cfg.StartTimeout, []*deadletter.Letter{l},
		func(_ *deadletter.Letter, record *job.Delivery) error {
			value = bytes.Clone(record.Value)
			return nil
		})
	if err != nil {
		return nil, kafkaError(ctx, err)
	}
	if value == nil {
		return nil, withHint(fmt.Errorf("letter %s was written without its job; there is nothing to edit", l.ID),
			"its producer still has it, perhaps: `worker enqueue` takes it")
	}
	return value, nil
}

// fileForEditor writes a letter's job to a temporary file that only its owner can read.
func fileForEditor(l *deadletter.Letter, value []byte) (path string, err error) {
	file, err := os.CreateTemp("", fmt.Sprintf("replyworker-letter-%d-%d-*.json", l.ID.Partition, l.ID.Offset)) // of mode 0600
	if err != nil {
		return "", fmt.Errorf("temporary file for the editor: %w", err)
	}
	_, err = file.Write(forEditor(value))
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(file.Name())
		return "", fmt.Errorf("temporary file for the editor: %w", err)
	}
	return file.Name(), nil
}

// editJob opens a job in the editor until it is valid. What it returns has no white space that is not
// within strings: the editor's lines are not the producer's.
func (r *replaying) editJob(ctx context.Context, value []byte, path string) ([]byte, error) {
	for {
		if err := r.runEditor(ctx, path); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read what was edited: %w", err)
		}
		mended, problems := r.checkEdited(text, value)
		if problems == nil {
			return mended, nil
		}
		_, _ = fmt.Fprintf(r.s.stderr, "worker: %s\n", oneLine(problems.Error()))
		if again := r.s.confirm(ctx, "Edit it again?"); again != nil {
			return nil, errors.New("nothing was sent: the job is not valid or not changed")
		}
	}
}

// forEditor sets a job out in lines, where it is JSON.
func forEditor(value []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, value, "", "  ") != nil {
		return value
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// runEditor runs the editor as git does: the variable may have arguments in it.
func (r *replaying) runEditor(ctx context.Context, path string) error {
	editor := r.s.getenv("VISUAL")
	if editor == "" {
		editor = r.s.getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", path) //nolint:gosec // the operator's own editor
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = r.s.env, r.s.stdin, r.s.stderr, r.s.stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("editor %s: %w; nothing was sent", editor, err)
	}
	return nil
}

func (r *replaying) checkEdited(text, before []byte) ([]byte, error) {
	var mended, old bytes.Buffer
	if err := json.Compact(&mended, text); err != nil {
		return nil, fmt.Errorf("what was edited is no JSON: %w", err)
	}
	if json.Compact(&old, before) == nil && bytes.Equal(mended.Bytes(), old.Bytes()) {
		return nil, errors.New("the job was not changed; without --edit it is sent as it is")
	}
	if _, err := job.Decode(mended.Bytes(), job.Validation(r.cfg.Validation)); err != nil {
		return nil, err
	}
	return mended.Bytes(), nil
}

// planMended plans the mended job in the place of the letter's own. It gets a new idempotent id where
// other content may have been sent under its own.
func (r *replaying) planMended(ctx context.Context, l *deadletter.Letter, value []byte) (replay.Item, error) {
	item, err := r.planJob(ctx, l, value)
	if err != nil {
		return replay.Item{}, err
	}
	changed := item.Letter.Content != l.Content
	if same := item.Letter.IdempotentID == l.IdempotentID; item.Verdict == replay.Conflict || same && changed && item.Unclear {
		id := dedupe.NewToken()
		if value, err = setIdempotentID(value, id); err != nil {
			return replay.Item{}, err
		}
		_, _ = fmt.Fprintf(r.s.stderr, "worker: other content may have been sent as %s; the mended job gets the idempotent_id %s\n",
			clean(item.Letter.IdempotentID), id)
		if item, err = r.planJob(ctx, l, value); err != nil {
			return replay.Item{}, err
		}
	}
	if !r.plan.Sent(item.Verdict) {
		return replay.Item{}, fmt.Errorf("nothing was sent: the mended job is %s", item.Verdict.Meaning())
	}
	return item, nil
}

// planJob plans another job in the place of a letter's own.
func (r *replaying) planJob(ctx context.Context, l *deadletter.Letter, value []byte) (replay.Item, error) {
	j, err := job.Decode(value, job.Validation(r.cfg.Validation))
	if err != nil {
		return replay.Item{}, err
	}
	mended := *l
	mended.ComplaintID, mended.IdempotentID, mended.MchID = j.ComplaintID, j.IdempotentID, j.MchID
	mended.ExpiresAt, mended.Content, mended.Invalid = j.ExpiresAt, j.Content, false
	if mended.IdempotentID != l.IdempotentID { // another reply: nothing of it has been sent
		mended.MaybeSent = false
	}
	if err := r.makePlan(ctx, []*deadletter.Letter{&mended}); err != nil {
		return replay.Item{}, err
	}
	item := r.plan.Items[0]
	item.Mended = &replay.Mended{Value: value}
	if j.ComplaintID != l.ComplaintID {
		item.Mended.Key = []byte(j.ComplaintID)
	}
	return item, nil
}

// setIdempotentID returns a job with another idempotent id, everything else byte for byte.
func setIdempotentID(value []byte, id string) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(value))
	if _, err := in.Token(); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, fmt.Errorf("job: %w", err)
		}
		var member json.RawMessage
		if err := in.Decode(&member); err != nil {
			return nil, fmt.Errorf("job: %w", err)
		}
		if name == "idempotent_id" {
			end := in.InputOffset()
			text, err := json.Marshal(id)
			if err != nil {
				return nil, fmt.Errorf("idempotent id: %w", err)
			}
			return bytes.Join([][]byte{value[:end-int64(len(member))], text, value[end:]}, nil), nil
		}
	}
	return nil, errors.New("the job has no idempotent_id")
}

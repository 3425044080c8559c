package app

import (
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// Reload makes the worker read the files of merchants and keys now, as it does by itself a few seconds
// after they have changed. It returns at once, and does nothing while the worker drains. It is safe for
// concurrent use.
func (w *Worker) Reload() { w.reload.ask() }

// swap makes these the merchants in use. Whatever is under way ends with what it began with.
func (w *Worker) swap(all merchants, defaultMchID string, d difference) {
	for _, id := range d.added {
		w.scheduler.SetGated(id, true)
	}
	w.merchants.Store(&all)
	w.processor.SetMerchants(all.signers(), defaultMchID)
	for _, id := range d.removed {
		w.scheduler.SetGated(id, false)
		w.gate.Forget(id)
	}
}

// tell logs which keys are in use, without anything of them that is secret, and which certificates end
// soon.
func (w *Worker) tell(log zerolog.Logger, all merchants, ids []string) {
	for _, id := range ids[:min(len(ids), maxLogged)] {
		c := all[id]
		log.Info().Str("mchid", id).Str("cert_serial", c.CertSerial).Str("key_sha256", c.print).
			Str("answer_key", c.AnswerKeyID).Strs("answer_keys", slices.Sorted(maps.Keys(c.AnswerKeys))).
			Msg("merchant is loaded")
	}
	told := 0
	for _, id := range all.ids() {
		for key, end := range all[id].ends {
			if left := time.Until(end); left < expiryNotice && told < maxLogged {
				told++
				log.Warn().Str("mchid", id).Str("answer_key", key).Time("ends", end).
					Msg("a platform certificate ends soon, or has ended: add the next one, or WeChat Pay's public key")
			}
		}
	}
}

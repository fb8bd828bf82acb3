package batch

import (
	"slices"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// setAside discards the batches of c that the buffer will never take, and gives what is left to be closed
// and to be checkpointed. When no record is at fault by itself, the commit as a whole is more than
// the buffer takes, which the bounds of batches should prevent: then the batch with most bytes goes. What is discarded is
// counted, and said once for each rule.
func (s *Sealer) setAside(c *commitment, err error) (closing, lasting []*open) {
	bytes := map[*open]int{}
	var bad []*open
	look := func(o *open, r *buffer.Record) {
		bytes[o] += len(r.Payload)
		if r.Check() != nil {
			bad = append(bad, o)
		}
	}
	for i, o := range c.owners {
		look(o, &c.sealed[i])
	}
	for i, o := range c.open {
		look(o, &c.lasting[i])
	}
	closing, lasting = slices.Clone(c.closed), slices.Clone(c.open)
	if len(bad) == 0 {
		all := slices.Concat(closing, lasting)
		bad = all[:1]
		for _, o := range all {
			if bytes[o] > bytes[bad[0]] {
				bad = []*open{o}
			}
		}
	}
	known := func(o *open) bool { return slices.Contains(bad, o) }
	for _, o := range slices.Concat(closing, lasting) {
		if known(o) {
			s.discard(o, err)
		}
	}
	return slices.DeleteFunc(closing, known), slices.DeleteFunc(lasting, known)
}

// discard forgets the rows of a batch that can be stored nowhere. What its last checkpoint holds is on disk and counted, and becomes
// its record; the rest is discarded. Where the store cannot do that the number stays: the checkpoint has it, and there must be no gap.
func (s *Sealer) discard(o *open, err error) {
	lost, seq := o.enc.Samples(), o.seq
	if _, able := s.cfg.Store.(OpenSealer); able && seq != 0 {
		s.abandoned = append(s.abandoned, protocol.MessageID{Device: s.cfg.Device, Boot: s.cfg.Boot, Seq: seq})
		s.sealed, s.bytes = s.sealed+uint64(o.committed), s.bytes+uint64(o.payload)
		lost, seq = lost-o.committed, 0
	}
	if !s.told[o.capture.Rule] {
		s.cfg.Log.Error("batch can never be stored; discarded", "rule", o.capture.Rule, "samples", lost, "error", err)
	}
	if len(s.told) < maxTold {
		s.told[o.capture.Rule] = true
	}
	s.stats.discarded.Add(uint64(lost))
	o.reset(seq)
}

// sealAbandoned makes records of the checkpoints of discarded batches.
func (s *Sealer) sealAbandoned() error {
	for len(s.abandoned) > 0 {
		if err := s.cfg.Store.(OpenSealer).SealOpen(s.abandoned[0]); err != nil {
			return err
		}
		s.stats.batches.Add(1)
		s.abandoned = s.abandoned[1:]
	}
	return nil
}

// maxTold bounds the rules that are remembered for the log.
const maxTold = 256

package drive

// A Checksum adds up what samples say, whatever their order: the sum of
// SampleSum over all of them, modulo 2⁶⁴. Two equal ones mean the same samples
// with the same multiplicity, but for accidents of probability 2⁻⁶⁴.
type Checksum uint64

// Odd constants of SplitMix64 (Steele, Lea, Flood 2014) and FNV-1a (draft-eastlake-fnv).
const (
	fnvOffset  = 0xcbf29ce484222325
	fnvPrime   = 0x100000001b3
	mixStep    = 0x9e3779b97f4a7c15
	mixFirst   = 0xbf58476d1ce4e5b9
	mixSecond  = 0x94d049bb133111eb
	separation = 0xFF // between names; no byte of UTF-8
)

// SignalKey stands for a signal in SampleSum.
func SignalKey(bus, message, signal string) uint64 {
	h := uint64(fnvOffset)
	for _, name := range [...]string{bus, message, signal} {
		for i := range len(name) {
			h = (h ^ uint64(name[i])) * fnvPrime
		}
		h = (h ^ separation) * fnvPrime
	}
	return mix(h)
}

// SampleSum is the Checksum of one sample: its signal by SignalKey, its time in ms since the Unix epoch and its bits on the bus (signal.Number.Bits).
func SampleSum(key uint64, ms, raw int64) Checksum { return sampleSum(key, timeKey(ms), raw) }

// timeKey is the share of the time, the same for all samples of a frame.
func timeKey(ms int64) uint64 { return mix(uint64(ms) * mixStep) }

func sampleSum(key, time uint64, raw int64) Checksum {
	return Checksum(mix(mix(key^time+uint64(raw)*mixStep) + key))
}

// mix is the finalizer of SplitMix64, a bijection.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * mixFirst
	x = (x ^ x>>27) * mixSecond
	return x ^ x>>31
}

// milliseconds cuts µs, downwards also before 1970.
func milliseconds(micros int64) int64 {
	ms := micros / 1000
	if micros%1000 < 0 {
		ms--
	}
	return ms
}

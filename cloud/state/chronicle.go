package state

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"

	"telltale.dev/cloud/backbone"
	"telltale.dev/protocol"
)

// Histories are on disk in entries of two kinds, each a set of points of some signals of a vehicle.
// A point may be in several entries. The histories are the union of all entries.
//
//	VEHICLE/f0, f1 …   all points of partHistories signals each, written every historyTurns saves
//	VEHICLE/n1 … n15   the points that came to all signals between two saves
//
// So a save writes what is new, and a crash between two entries loses nothing. An entry is
//
//	version (1), then for each signal: 8 bytes of a hash of its key, the number of points,
//	and for each point the µs since the one before (zigzag varint) and the 8 bytes of the value
const (
	historyVersion = 1
	historyTurns   = 16
	partHistories  = 100
	maxNews        = 700 << 10 // bytes; when more is new than that, all is written
)

var errHistory = errors.New("history cannot be read")

// hash is the name of a signal in an entry of histories.
func (k Key) hash() uint64 {
	h := fnv.New64a()
	for _, name := range [...]string{k.Bus, k.Message, k.Signal} {
		_, _ = h.Write(append([]byte(name), 0))
	}
	return h.Sum64()
}

// appendHistory adds a signal's points to an entry.
func appendHistory(out []byte, key Key, points []Point) []byte {
	if len(points) == 0 {
		return out
	}
	out = binary.LittleEndian.AppendUint64(out, key.hash())
	out = binary.AppendUvarint(out, uint64(len(points)))
	before := int64(0)
	for _, p := range points {
		out = binary.AppendVarint(out, p.Time-before)
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(p.Value))
		before = p.Time
	}
	return out
}

// parseHistories calls each with every point of an entry, the signal named by its hash.
func parseHistories(entry []byte, each func(signal uint64, p Point)) error {
	if len(entry) == 0 || entry[0] != historyVersion {
		return fmt.Errorf("expected version %d: %w", historyVersion, errHistory)
	}
	for rest := entry[1:]; len(rest) > 0; {
		if len(rest) < 8 {
			return fmt.Errorf("cut short: %w", errHistory)
		}
		signal := binary.LittleEndian.Uint64(rest)
		count, n := binary.Uvarint(rest[8:])
		if n <= 0 || count > uint64(len(rest)/9) { // a point has 9 bytes at least
			return fmt.Errorf("number of points: %w", errHistory)
		}
		rest = rest[8+n:]
		t := int64(0)
		for range count {
			step, n := binary.Varint(rest)
			if n <= 0 || len(rest) < n+8 {
				return fmt.Errorf("cut short: %w", errHistory)
			}
			t += step
			each(signal, Point{Time: t, Value: math.Float64frombits(binary.LittleEndian.Uint64(rest[n:]))})
			rest = rest[n+8:]
		}
	}
	return nil
}

// entry is what is to be written under a key.
type entry struct {
	key  string
	data []byte
}

// historyEntries gives what a save has to write of a vehicle's histories, and counts it as written.
func (s *States) historyEntries(vid protocol.VehicleID) (list []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicles[vid]
	if v == nil {
		return nil
	}
	if v.turn != 0 {
		out := []byte{historyVersion}
		for _, sig := range v.signals {
			h := &sig.history
			from, _ := slices.BinarySearchFunc(h.points, h.saved+1, func(p Point, t int64) int { return cmp.Compare(p.Time, t) })
			out = appendHistory(out, sig.Key, h.points[from:])
		}
		list = append(list, entry{string(vid) + "/n" + strconv.Itoa(v.turn), out})
	}
	if v.turn == 0 || len(list[0].data) > maxNews {
		v.turn, list = 0, list[:0]
		for from := 0; from < len(v.signals); from += partHistories {
			out := []byte{historyVersion}
			for _, sig := range v.signals[from:min(from+partHistories, len(v.signals))] {
				out = appendHistory(out, sig.Key, sig.history.thinned(v.level))
			}
			list = append(list, entry{string(vid) + "/f" + strconv.Itoa(from/partHistories), out})
		}
	}
	for _, sig := range v.signals {
		if n := len(sig.history.points); n > 0 {
			sig.history.saved = sig.history.points[n-1].Time
		}
	}
	v.turn = (v.turn + 1) % historyTurns
	// An entry n without points is not written. An entry f is written even then, because it replaces an older one.
	return slices.DeleteFunc(list, func(e entry) bool { return len(e.data) == 1 && v.turn != 1 })
}

// historyKeys are those that the entries of a vehicle with so many signals may have.
func historyKeys(vid protocol.VehicleID, signals int) (keys []string) {
	for turn := range historyTurns - 1 {
		keys = append(keys, string(vid)+"/n"+strconv.Itoa(turn+1))
	}
	for part := 0; part*partHistories < signals; part++ {
		keys = append(keys, string(vid)+"/f"+strconv.Itoa(part))
	}
	return keys
}

// isHistory says whether a key is one of an entry of histories.
func isHistory(key string) bool {
	_, name, _ := strings.Cut(key, "/")
	return strings.HasPrefix(name, "f") || strings.HasPrefix(name, "n")
}

// loadHistories takes entries in, and gives how many cannot be read. The caller holds mu.
func (s *States) loadHistories(entries map[string][]byte, keys []string) (unreadable int) {
	slices.Sort(keys) // so that those of a vehicle follow each other
	var v *vehicle
	var byHash map[uint64]*signal
	for _, key := range keys {
		name, _, _ := strings.Cut(key, "/")
		of := s.vehicles[protocol.VehicleID(name)]
		if of == nil { // the power went before its state was written: the batches come again
			continue
		}
		if of != v {
			v, byHash = of, of.hashes()
		}
		if s.loadHistory(v, byHash, entries[key]) != nil {
			unreadable++
		}
	}
	return unreadable
}

// hashes gives the vehicle's signals by the names that they have in entries of histories.
func (v *vehicle) hashes() map[uint64]*signal {
	byHash := make(map[uint64]*signal, len(v.signals))
	for _, sig := range v.signals {
		byHash[sig.hash()] = sig
	}
	return byHash
}

func (s *States) loadHistory(v *vehicle, byHash map[uint64]*signal, data []byte) error {
	err := parseHistories(data, func(signal uint64, p Point) {
		sig := byHash[signal]
		if sig == nil || p.Time < 0 || sig.history.due(p.Time, spacing(v.level)) != p.Time {
			return
		}
		s.remember(v, sig, p)
	})
	s.settle(v)
	return err
}

// put puts entries into the store.
func put(ctx context.Context, store backbone.Store, list []entry) error {
	for _, e := range list {
		if err := store.Put(ctx, e.key, e.data); err != nil {
			return fmt.Errorf("state snapshot: %w", err)
		}
	}
	return nil
}

package buffer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	mathbits "math/bits"
	"time"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/topics"
)

// A record as stored, cut into chunks wherever a chunk is full:
//
//	crc     u32   CRC-32C of the record's position and everything after it
//	crc     u32   CRC-32C of the position, the two lengths and the header, so that a record with a damaged payload still has a name
//	head    u32   length of the header
//	payload u32   length of the payload
//	header  form, flags, priority, then the fields in the order of appendHeader
//	payload
//
// The position is not stored: class, number of the segment (u64) and the key, big endian. So a record that
// turns up in another place is damaged, and a seal can be bound to the same bytes. Form 1, of format version 1, has
// sums without it, and neither a time quality nor a seal.
//
// Fixed integers are little endian, numbers in the header are varints.
const (
	prefixBytes = 16
	recordForm  = 2
	formerForm  = 1
	maxHeader   = 1<<10 + topics.MaxLength + MaxEvicted*28
)

const (
	flagOrdered = 1 << iota
	flagSchema
	flagCreated
	flagQuality // the quality of its times follows the fields of form 1, one byte
	flagSealed  // then nonce and tag, with their lengths
	flagsFormer = flagOrdered | flagSchema | flagCreated
	flagsKnown  = flagsFormer | flagQuality | flagSealed
)

// chunkBytes is the size of a stored value. Five of them, each with a key of 6
// and an element of 16 bytes, and a page header of 16 fill 4,076 of a page's
// 4,096 bytes; bbolt splits a page that is exactly full, so not one byte more.
const chunkBytes = 790

// errDamaged is wrapped by every error about stored bytes that are not what was written.
var errDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// position gives the bytes that tie a record to its place: a segment and the key without the number of the chunk.
func position(id segmentID, key []byte) []byte {
	b := append(make([]byte, 0, 32), byte(id.class))
	return append(binary.BigEndian.AppendUint64(b, id.number), key...)
}

// base gives the sum of the position with which the sums of a record begin; chunks[0] is longer than the prefix.
func base(chunks [][]byte, at []byte) uint32 {
	if chunks[0][prefixBytes] == formerForm {
		return 0
	}
	return crc32.Checksum(at, castagnoli)
}

// encodeRecord gives the chunks of r at a position, in a form. All but the first few alias r.Payload.
func encodeRecord(r *Record, at []byte, form byte) [][]byte {
	head := make([]byte, prefixBytes, prefixBytes+256+chunkBytes)
	head = appendHeader(head, r, form)
	binary.LittleEndian.PutUint32(head[8:], uint32(len(head)-prefixBytes))
	binary.LittleEndian.PutUint32(head[12:], uint32(len(r.Payload)))
	sum := uint32(0)
	if form != formerForm {
		sum = crc32.Checksum(at, castagnoli)
	}
	binary.LittleEndian.PutUint32(head[4:], crc32.Update(sum, castagnoli, head[8:]))
	binary.LittleEndian.PutUint32(head, crc32.Update(crc32.Update(sum, castagnoli, head[4:]), castagnoli, r.Payload))

	fill := min((chunkBytes-len(head)%chunkBytes)%chunkBytes, len(r.Payload))
	head = append(head, r.Payload[:fill]...)
	chunks := make([][]byte, 0, (len(head)+len(r.Payload)-fill)/chunkBytes+1)
	for _, portion := range [...][]byte{head, r.Payload[fill:]} {
		for len(portion) > 0 {
			n := min(chunkBytes, len(portion))
			chunks = append(chunks, portion[:n:n])
			portion = portion[n:]
		}
	}
	return chunks
}

// appendHeader writes the header. The former form has no place for time quality and seal.
func appendHeader(b []byte, r *Record, form byte) []byte {
	var flags byte
	if r.Ordered {
		flags |= flagOrdered
	}
	if r.Schema != (protocol.SchemaHash{}) {
		flags |= flagSchema
	}
	if !r.Created.IsZero() {
		flags |= flagCreated
	}
	if r.TimeQuality != 0 && form != formerForm {
		flags |= flagQuality
	}
	if r.Seal.there() && form != formerForm {
		flags |= flagSealed
	}
	b = append(b, form, flags, byte(r.Priority))
	b = append(b, r.ID.Boot[:]...)
	b = binary.AppendUvarint(b, r.ID.Seq)
	for _, s := range [...]string{string(r.ID.Device), r.Topic, r.ContentType, r.Purpose, r.KeyID} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	if flags&flagSchema != 0 {
		b = append(b, r.Schema[:]...)
	}
	b = binary.AppendUvarint(b, uint64(r.Samples))
	b = binary.AppendVarint(b, r.First)
	b = binary.AppendVarint(b, r.Last)
	if flags&flagCreated != 0 {
		b = binary.AppendVarint(b, r.Created.UnixMicro())
	}
	b = binary.AppendVarint(b, int64(r.TTL))
	b = appendRanges(b, r.Evicted)
	if flags&flagQuality != 0 {
		b = append(b, byte(r.TimeQuality))
	}
	if flags&flagSealed != 0 {
		for _, v := range [...][]byte{r.Seal.Nonce, r.Seal.Tag} {
			b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
	}
	return b
}

func appendRanges(b []byte, list []protocol.SeqRange) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, e := range list {
		b = append(b, e.Boot[:]...)
		b = binary.AppendUvarint(b, e.From)
		b = binary.AppendUvarint(b, e.To)
	}
	return b
}

// rangeBytes is what appendRanges writes of one range.
func rangeBytes(r protocol.SeqRange) int {
	uvarint := func(n uint64) int { return (mathbits.Len64(n|1) + 6) / 7 }
	return len(r.Boot) + uvarint(r.From) + uvarint(r.To)
}

// decodeRecord joins chunks to the record. The payload is copied once, into
// memory of its own. The error wraps errDamaged.
func decodeRecord(chunks [][]byte, at []byte) (Record, error) {
	r, err := decodeHeader(chunks, at)
	if err == nil {
		err = verify(chunks, at)
	}
	if err != nil {
		return Record{}, err
	}
	head, payload, _ := measure(chunks)
	r.Payload = appendFrom(make([]byte, 0, payload), chunks, prefixBytes+head)
	return r, nil
}

// decodeHeader gives the record without its payload, which may be damaged or missing.
func decodeHeader(chunks [][]byte, at []byte) (Record, error) {
	head, _, err := measure(chunks)
	if err != nil {
		return Record{}, err
	}
	data := gather(chunks, 8, prefixBytes-8+head)
	if crc32.Update(base(chunks, at), castagnoli, data) != binary.LittleEndian.Uint32(chunks[0][4:]) {
		return Record{}, errDamaged
	}
	return parseHeader(data[prefixBytes-8:])
}

// verify checks that the record is complete and as written.
func verify(chunks [][]byte, at []byte) error {
	head, payload, err := measure(chunks)
	if err != nil {
		return err
	}
	total := len(chunks[0])
	sum := crc32.Update(base(chunks, at), castagnoli, chunks[0][4:])
	for _, c := range chunks[1:] {
		total += len(c)
		sum = crc32.Update(sum, castagnoli, c)
	}
	if total != prefixBytes+head+payload || sum != binary.LittleEndian.Uint32(chunks[0]) {
		return errDamaged
	}
	return nil
}

// measure reads the lengths, and checks that they are possible and the header is there.
func measure(chunks [][]byte) (head, payload int, err error) {
	if len(chunks) == 0 || len(chunks[0]) <= prefixBytes {
		return 0, 0, errDamaged
	}
	h, p := binary.LittleEndian.Uint32(chunks[0][8:]), binary.LittleEndian.Uint32(chunks[0][12:])
	total := 0
	for _, c := range chunks {
		total += len(c)
	}
	if h > maxHeader || p > MaxPayload || total < prefixBytes+int(h) {
		return 0, 0, errDamaged
	}
	return int(h), int(p), nil
}

// gather gives n bytes from offset from, without copying when one chunk holds them.
func gather(chunks [][]byte, from, n int) []byte {
	if from+n <= len(chunks[0]) {
		return chunks[0][from : from+n]
	}
	return appendFrom(make([]byte, 0, n+chunkBytes), chunks, from)[:n]
}

func appendFrom(dst []byte, chunks [][]byte, skip int) []byte {
	for _, c := range chunks {
		if skip >= len(c) {
			skip -= len(c)
			continue
		}
		dst = append(dst, c[skip:]...)
		skip = 0
	}
	return dst
}

// parseHeader reads what appendHeader wrote, and nothing else.
func parseHeader(data []byte) (Record, error) {
	d := decoder{rest: data}
	var r Record
	form, known := d.byte(), byte(flagsKnown)
	if form == formerForm {
		known = flagsFormer
	} else if form != recordForm {
		return Record{}, errDamaged
	}
	flags := d.byte()
	r.Priority = protocol.Priority(d.byte())
	r.ID.Boot = protocol.BootID(d.bytes(len(r.ID.Boot)))
	r.ID.Seq = d.uvarint()
	r.ID.Device = protocol.DeviceID(d.text(protocol.MaxIDLength))
	r.Topic = d.text(topics.MaxLength)
	r.ContentType, r.Purpose, r.KeyID = d.text(maxText), d.text(maxText), d.text(maxText)
	if flags&flagSchema != 0 {
		r.Schema = protocol.SchemaHash(d.bytes(len(r.Schema)))
	}
	samples := d.uvarint()
	r.Samples, r.First, r.Last = uint32(samples), d.varint(), d.varint()
	if flags&flagCreated != 0 {
		r.Created = time.UnixMicro(d.varint()).UTC()
	}
	r.TTL, r.Ordered = time.Duration(d.varint()), flags&flagOrdered != 0
	r.Evicted = d.ranges(MaxEvicted)
	d.form2(&r, flags&known)
	zero := flags&flagSchema != 0 && r.Schema == (protocol.SchemaHash{}) || flags&flagCreated != 0 && r.Created.IsZero()
	if d.bad || len(d.rest) > 0 || flags&^known != 0 || samples>>32 != 0 || zero || r.Check() != nil {
		return Record{}, errDamaged
	}
	return r, nil
}

// form2 reads the fields that form 1 did not have.
func (d *decoder) form2(r *Record, flags byte) {
	if flags&flagQuality != 0 {
		r.TimeQuality = batches.TimeQuality(d.byte())
		d.bad = d.bad || r.TimeQuality == 0
	}
	if flags&flagSealed != 0 {
		r.Seal.Nonce, r.Seal.Tag = []byte(d.text(maxNonce)), []byte(d.text(maxTag))
		d.bad = d.bad || !r.Seal.there()
	}
}

// decoder reads numbers and text from rest; after the first mistake bad is
// set and everything reads as zero.
type decoder struct {
	rest []byte
	bad  bool
}

// bytes gives the next n bytes; n zero bytes when there are not that many.
func (d *decoder) bytes(n int) []byte {
	if d.bad || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte { return d.bytes(1)[0] }

// text reads a length of at most limit, and that many bytes.
func (d *decoder) text(limit int) string { return string(d.bytes(d.count(limit))) }

// count reads a number of at most limit.
func (d *decoder) count(limit int) int {
	n := d.uvarint()
	if n > uint64(limit) {
		d.bad = true
		return 0
	}
	return int(n)
}

// uvarint reads a number in its shortest form only, so that there is one encoding of each record.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || n > 1 && d.rest[n-1] == 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) ranges(limit int) []protocol.SeqRange {
	n := d.count(min(limit, len(d.rest)/10))
	if n == 0 {
		return nil
	}
	list := make([]protocol.SeqRange, n)
	for i := range list {
		list[i] = protocol.SeqRange{Boot: protocol.BootID(d.bytes(8)), From: d.uvarint(), To: d.uvarint()}
	}
	return list
}

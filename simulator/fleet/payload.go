package fleet

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"telltale.dev/protocol"
	"telltale.dev/protocol/batches"
	"telltale.dev/protocol/campaigns"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/compress"
	"telltale.dev/protocol/document"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
	"telltale.dev/protocol/topics"
)

// payloads makes what vehicles publish. Methods are called by all vehicles at once.
type payloads interface {
	// template is a vehicle's publish, without its payload.
	template(v Identity) *packets.ControlPacket
	// fill gives the publish its payload, in place of or appended to buf[:0], and
	// returns the memory for the next one.
	fill(p *packets.Publish, id protocol.MessageID, buf []byte) ([]byte, error)
}

func newPayloads(random int) (payloads, error) {
	if random > 0 {
		return newNoise(random)
	}
	return newBatches()
}

// noise are random bytes in a status of a document that no campaign is: the cloud reads the status and has nothing to
// do with it, so that storing is what is measured.
type noise struct {
	status []byte // the payload, but for its random bytes
	random int    // where in status they begin
	block  []byte
}

// noiseVariety is how many different payloads there are.
const noiseVariety = 4096

// noisyStatus is a status with a field that readers pass over.
type noisyStatus struct {
	document.Status
	Noise []byte `cbor:"noise"`
}

// newNoise makes payloads of a size in bytes, or the least that a status takes.
func newNoise(size int) (*noise, error) {
	said := noisyStatus{Status: document.Status{Version: document.StatusVersion, Document: "load", Results: []document.Result{}}}
	least, err := document.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("noise: %w", err)
	}
	const head = 4 // more bytes for the length of a large field, at most
	n := &noise{}
	count := max(size-len(least)-head, 1)
	said.Noise = bytes.Repeat([]byte{0xaa}, count)
	if n.status, err = document.Marshal(said); err != nil {
		return nil, fmt.Errorf("noise: %w", err)
	}
	n.random = bytes.Index(n.status, said.Noise)
	n.block = make([]byte, count+noiseVariety)
	seeded := rand.NewChaCha8([32]byte{}) // the same in each run
	_, _ = seeded.Read(n.block)           // never fails
	return n, nil
}

func (n *noise) template(v Identity) *packets.ControlPacket {
	topic := topics.Topic{Kind: topics.ConfigStatus, Vehicle: v.Vehicle, Name: campaigns.Document}
	return publish(topic.String(), "", packets.User{Key: protocol.PropPriority, Value: protocol.CS5.String()})
}

func (n *noise) fill(p *packets.Publish, id protocol.MessageID, buf []byte) ([]byte, error) {
	from := int(id.Seq * 31 % noiseVariety)
	buf = append(buf[:0], n.status...)
	copy(buf[n.random:], n.block[from:from+len(n.block)-noiseVariety])
	p.Payload = buf
	return buf, nil
}

// A synthetic batch: two seconds of eight signals at ten samples a second.
const (
	batchSignals  = 8
	batchRows     = 20
	batchInterval = 100 * time.Millisecond

	campaign protocol.CampaignID = "fleet"
)

// realBatches are real ones of a small made-up schema, each with an id of its own.
type realBatches struct {
	document []byte
	hash     protocol.SchemaHash
	rows     [batchRows][batchSignals]int64
	// encoders are shared, because each has more than a megabyte of memory for zstd.
	encoders chan *batches.Encoder
}

func newBatches() (*realBatches, error) {
	schema := syntheticSchema()
	b := &realBatches{encoders: make(chan *batches.Encoder, runtime.GOMAXPROCS(0))}
	var err error
	if b.document, b.hash, err = schema.Encode(); err != nil {
		return nil, fmt.Errorf("synthetic schema: %w", err)
	}
	for range cap(b.encoders) {
		b.encoders <- batches.NewEncoder(schema, b.hash.ID())
	}
	for r := range b.rows {
		for s := range b.rows[r] { // a slow wave with a little noise, different for each signal
			wave := math.Sin(float64(r)/float64(3+s)) * 400
			b.rows[r][s] = 2000 + int64(wave) + rand.Int64N(8)
		}
	}
	return b, nil
}

func syntheticSchema() *schemas.Schema {
	s := &schemas.Schema{
		Version: schemas.Version1, Campaign: campaign, Rule: "all", Tick: schemas.DefaultTick, Mode: protocol.ModeAll,
		Groups: [][]uint32{make([]uint32, batchSignals)},
	}
	for i := range batchSignals {
		s.Groups[0][i] = uint32(i)
		s.Signals = append(s.Signals, signal.Signal{
			Name: fmt.Sprintf("synthetic_%d", i+1), Unit: "1", Message: "synthetic", Bus: "can0",
			CAN: &signal.Bits{ID: can.ID(0x100), Start: 16 * i, Length: 16}, Scale: "0.1", Offset: "0",
		})
	}
	return s
}

// schema is the publish of the schema document, which comes before the first batch.
func (b *realBatches) schema(v Identity) (*packets.ControlPacket, error) {
	topic := topics.Topic{Kind: topics.Schema, Vehicle: v.Vehicle, Schema: b.hash}
	p := publish(topic.String(), protocol.ContentSchema, packets.User{Key: protocol.PropPriority, Value: protocol.CS4.String()})
	payload, err := compress.Pack(b.document)
	p.Content.(*packets.Publish).Payload = payload
	return p, err
}

func (b *realBatches) template(v Identity) *packets.ControlPacket {
	topic := topics.Topic{Kind: topics.Telemetry, Vehicle: v.Vehicle, Campaign: campaign}
	return publish(topic.String(), protocol.ContentTelemetry,
		packets.User{Key: protocol.PropPriority, Value: protocol.CS1.String()},
		packets.User{Key: protocol.PropMessageID})
}

func (b *realBatches) fill(p *packets.Publish, id protocol.MessageID, buf []byte) ([]byte, error) {
	p.Properties.User[1].Value = id.String()
	e := <-b.encoders
	defer func() { b.encoders <- e }()
	e.Reset()
	t := time.Now().Add(-batchRows * batchInterval).UnixMicro()
	for r := range b.rows {
		e.Add(0, t+int64(r)*batchInterval.Microseconds(), b.rows[r][:])
	}
	payload, err := e.Encode(batches.Header{ID: id}, buf[:0])
	p.Payload = payload
	return payload, err
}

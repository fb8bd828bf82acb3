package buffer

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	"telltale.dev/protocol"
)

// search looks through damaged files for records that are lost with them: not
// acknowledged, and not stored anywhere else.
func (m *image) search(dir string) {
	known := map[protocol.MessageID]bool{}
	for _, l := range m.byClass {
		for _, s := range l {
			for i := range s.items {
				known[s.items[i].id] = true
			}
		}
	}
	take := func(id segmentID, from int) {
		n := m.notes[id]
		for _, f := range searchFile(dir, id) {
			if it := f.item; it.id.Seq != 0 && !known[it.id] && f.index >= from && !n.acked.has(f.index) && !n.gone {
				known[it.id] = true
				m.losses = append(m.losses, it)
			}
		}
	}
	for _, id := range m.corrupt {
		take(id, 0)
	}
	for _, s := range m.short {
		s.damaged = true
		take(s.id, s.base)
	}
}

// found is a record that begins in a page.
type found struct {
	index int
	item  item
}

// searchFile looks page by page through a file that bbolt cannot open. Only
// records with an intact header are found, so what is found is true. Pages
// that bbolt has replaced are looked at too; what they hold is the same.
func searchFile(dir string, id segmentID) []found {
	f, err := os.Open(filepath.Join(dir, id.file()))
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read
	var list []found
	page := make([]byte, pageSize)
	for at := int64(2 * pageSize); at < maxSegment; at += pageSize {
		if _, err := io.ReadFull(io.NewSectionReader(f, at, pageSize), page); err != nil {
			break
		}
		list = searchPage(page, id, list)
	}
	return list
}

// searchPage appends the records that begin in a leaf page.
func searchPage(page []byte, id segmentID, list []found) []found {
	flags, count := binary.LittleEndian.Uint16(page[8:]), int(binary.LittleEndian.Uint16(page[10:]))
	if flags != boltLeaf || boltHeader+count*boltElement > len(page) {
		return list
	}
	for i := range count {
		e, ok := parseElement(page, i, flags)
		if !ok || e.bucket || len(e.key) != 6 || binary.BigEndian.Uint16(e.key[4:]) != 0 {
			continue
		}
		chunks := [][]byte{e.value}
		if r, err := decodeHeader(chunks, position(id, e.key[:4])); err == nil {
			_, payload, _ := measure(chunks)
			it := itemOf(&r, payload)
			it.lost = true
			list = append(list, found{index: int(binary.BigEndian.Uint32(e.key)), item: it})
		}
	}
	return list
}

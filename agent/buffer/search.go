package buffer

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	"telltale.dev/protocol"
)

// searchFile looks through a file that bbolt cannot open for the names of the
// records in it, page by page. Only records with an intact header are found,
// so what is found is true; it may contain records that were acknowledged.
func searchFile(dir string, id segmentID) []item {
	f, err := os.Open(filepath.Join(dir, id.file()))
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read
	var list []item
	seen := map[protocol.MessageID]bool{}
	page := make([]byte, pageSize)
	for at := int64(2 * pageSize); at < maxSegment; at += pageSize {
		if _, err := io.ReadFull(io.NewSectionReader(f, at, pageSize), page); err != nil {
			break
		}
		for _, it := range searchPage(page) {
			if !seen[it.id] && it.id.Seq != 0 {
				seen[it.id] = true
				it.lost = true
				list = append(list, it)
			}
		}
	}
	return list
}

// searchPage gives the records that begin in a leaf page.
func searchPage(page []byte) []item {
	flags, count := binary.LittleEndian.Uint16(page[8:]), int(binary.LittleEndian.Uint16(page[10:]))
	if flags != boltLeaf || boltHeader+count*boltElement > len(page) {
		return nil
	}
	var list []item
	for i := range count {
		e, ok := parseElement(page, i, flags)
		if !ok || e.bucket || len(e.key) != 6 || binary.BigEndian.Uint16(e.key[4:]) != 0 {
			continue
		}
		chunks := [][]byte{e.value}
		if r, err := decodeHeader(chunks); err == nil {
			_, payload, _ := measure(chunks)
			list = append(list, itemOf(&r, payload))
		}
	}
	return list
}

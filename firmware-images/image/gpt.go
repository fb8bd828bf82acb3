package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unicode/utf16"
)

// The GUID partition table, UEFI specification 2.10, chapter 5.
const (
	sectorSize  = 512
	gptEntries  = 128
	gptEntry    = 128
	tableSize   = gptEntries * gptEntry // 32 sectors
	firstUsable = 2 + tableSize/sectorSize
	alignment   = 1 << 20 // of partitions, in bytes: what flash likes
)

// Types of partitions: Linux file system data, and basic data, where a board's own firmware looks for a FAT file system.
const (
	typeLinux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
	typeBasic = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
)

// partition is one partition to be made.
type partition struct {
	Name string
	Type string // GUID
	Size int64  // in bytes, a multiple of a sector
	Data string // file that it begins with; "": empty
	Raw  []byte // the same as bytes
}

// place is where a partition lies, in bytes.
type place struct{ Start, Size int64 }

// writeDisk writes an image of the whole disk: sparse, and the same bytes for the
// same input. Identifiers come from name.
func writeDisk(path, name string, parts []partition) (map[string]place, error) {
	places, end := layout(parts)
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	total := end + alignment // the second table
	if err := f.Truncate(total); err != nil {
		return nil, err
	}
	if err := writeTables(f, name, parts, places, total); err != nil {
		return nil, fmt.Errorf("partition table: %w", err)
	}
	for _, p := range parts {
		if err := fill(f, p, places[p.Name]); err != nil {
			return nil, fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	return places, f.Close()
}

// layout gives each partition its place, one behind the other.
func layout(parts []partition) (map[string]place, int64) {
	places, next := map[string]place{}, int64(alignment)
	for _, p := range parts {
		places[p.Name] = place{next, p.Size}
		next = (next + p.Size + alignment - 1) / alignment * alignment
	}
	return places, next
}

// fill copies a partition's content, leaving out zeros.
func fill(f *os.File, p partition, at place) error {
	var in io.Reader = bytes.NewReader(p.Raw)
	if p.Data != "" {
		file, err := os.Open(p.Data)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	buf := make([]byte, 64<<10)
	for done := int64(0); ; {
		n, err := io.ReadFull(in, buf)
		if done+int64(n) > at.Size {
			return fmt.Errorf("content is longer than the partition's %d bytes", at.Size)
		}
		if bytes.Trim(buf[:n], "\x00") != nil {
			if _, err := f.WriteAt(buf[:n], at.Start+done); err != nil {
				return err
			}
		}
		done += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeTables writes the protective MBR and both tables.
func writeTables(f *os.File, name string, parts []partition, places map[string]place, total int64) error {
	sectors := total / sectorSize
	table := make([]byte, tableSize)
	for i, p := range parts {
		e := table[i*gptEntry:]
		kind, err := guid(p.Type)
		if err != nil {
			return err
		}
		copy(e, kind)
		copy(e[16:], derivedGUID(name, p.Name))
		at := places[p.Name]
		binary.LittleEndian.PutUint64(e[32:], uint64(at.Start/sectorSize))
		binary.LittleEndian.PutUint64(e[40:], uint64((at.Start+at.Size)/sectorSize-1))
		for j, unit := range utf16.Encode([]rune(p.Name)) {
			binary.LittleEndian.PutUint16(e[56+2*j:], unit)
		}
	}
	mbr := make([]byte, sectorSize)
	mbr[446+2], mbr[446+4] = 2, 0xEE // starts at head 0, sector 2; protective
	copy(mbr[446+5:], []byte{0xFF, 0xFF, 0xFF})
	binary.LittleEndian.PutUint32(mbr[446+8:], 1)
	binary.LittleEndian.PutUint32(mbr[446+12:], uint32(min(sectors-1, 0xFFFFFFFF)))
	mbr[510], mbr[511] = 0x55, 0xAA
	second := sectors - 1 - tableSize/sectorSize
	for _, part := range []struct {
		sector int64
		data   []byte
	}{
		{0, mbr}, {1, header(name, table, 1, sectors-1, 2, sectors)}, {2, table},
		{second, table}, {sectors - 1, header(name, table, sectors-1, 1, second, sectors)},
	} {
		if _, err := f.WriteAt(part.data, part.sector*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

// header is that of one of the tables.
func header(name string, table []byte, own, other, entries, sectors int64) []byte {
	h := make([]byte, sectorSize)
	copy(h, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
	binary.LittleEndian.PutUint64(h[24:], uint64(own))
	binary.LittleEndian.PutUint64(h[32:], uint64(other))
	binary.LittleEndian.PutUint64(h[40:], firstUsable)
	binary.LittleEndian.PutUint64(h[48:], uint64(sectors-firstUsable))
	copy(h[56:], derivedGUID(name, ""))
	binary.LittleEndian.PutUint64(h[72:], uint64(entries))
	binary.LittleEndian.PutUint32(h[80:], gptEntries)
	binary.LittleEndian.PutUint32(h[84:], gptEntry)
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(table))
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return h
}

// guid turns the text form into bytes: the first three groups are little endian.
func guid(text string) ([]byte, error) {
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(text), []byte("-"), nil)))
	if err != nil || len(b) != 16 {
		return nil, fmt.Errorf("%q: expected a GUID", text)
	}
	b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]
	return b, nil
}

// derivedGUID gives the same identifier for the same names.
func derivedGUID(disk, part string) []byte {
	sum := sha256.Sum256([]byte("telltale disk " + disk + "\x00" + part))
	sum[7], sum[8] = sum[7]&0x0F|0x80, sum[8]&0x3F|0x80 // RFC 9562, version 8
	return sum[:16]
}

// FindPartition reads the table of a disk image and gives where the partition
// of that name lies, in bytes.
func FindPartition(disk, name string) (start, size int64, err error) {
	f, err := os.Open(disk)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	table := make([]byte, 2*sectorSize+tableSize)
	if _, err := f.ReadAt(table, 0); err != nil {
		return 0, 0, fmt.Errorf("partition table: %w", err)
	}
	h := table[sectorSize:]
	if string(h[:8]) != "EFI PART" || crc32.ChecksumIEEE(table[2*sectorSize:]) != binary.LittleEndian.Uint32(h[88:]) {
		return 0, 0, errors.New("partition table: expected a GPT of 128 entries with a good checksum")
	}
	for i := range gptEntries {
		e := table[2*sectorSize+i*gptEntry:][:gptEntry]
		var units []uint16
		for j := 56; j < gptEntry; j += 2 {
			if u := binary.LittleEndian.Uint16(e[j:]); u != 0 {
				units = append(units, u)
			}
		}
		if string(utf16.Decode(units)) == name {
			first, last := int64(binary.LittleEndian.Uint64(e[32:])), int64(binary.LittleEndian.Uint64(e[40:]))
			return first * sectorSize, (last - first + 1) * sectorSize, nil
		}
	}
	return 0, 0, fmt.Errorf("partition table: no partition is named %s", name)
}

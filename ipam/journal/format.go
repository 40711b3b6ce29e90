package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/warren-mesh/warren/ipam"
)

// A journal is a line "warren-leases VERSION", and a line for each thing that happened: its checksum (CRC-32C, in hex), a space, and a
// record as JSON. So leases can be read by a person, and an end that was being written when the power went is known as such.
const (
	header = "warren-leases 1\n"
	// prefixLen is the length of what is before the record in a line.
	prefixLen = 8 + 1
)

// record is one thing that happened. One of its fields is set.
type record struct {
	Grant   *ipam.Lease `json:"grant,omitempty"`
	Release *release    `json:"release,omitempty"`
	// Freed are addresses that nobody has, in the order in which they were released.
	Freed []ipam.Freed `json:"freed,omitempty"`
}

type release struct {
	ipam.Key
	At time.Time `json:"at"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord adds a record's line.
func appendRecord(to []byte, r record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding a lease: %w", err)
	}
	to = fmt.Appendf(to, "%08x ", crc32.Checksum(text, castagnoli))
	return append(append(to, text...), '\n'), nil
}

// encode is a whole table, as a journal that says no more than that.
func encode(t *ipam.Table) (content []byte, records int, err error) {
	var all []record
	if freed := t.Freed(); len(freed) > 0 {
		all = append(all, record{Freed: freed})
	}
	for _, l := range t.Leases() {
		all = append(all, record{Grant: &l})
	}
	content = []byte(header)
	for _, r := range all {
		if content, err = appendRecord(content, r); err != nil {
			return nil, 0, err
		}
	}
	return content, len(all), nil
}

// decode reads a journal, and says how much of it is whole: less than all where its last line is torn. It is an error where something
// follows a line that is not whole: then lines are missing that were on the disk once, and an address might be handed out twice.
func decode(content []byte) (t *ipam.Table, whole, records int, err error) {
	if !bytes.HasPrefix(content, []byte(header)) {
		return nil, 0, 0, errors.New("it is no journal of leases of this version")
	}
	t, whole = ipam.New(), len(header)
	for whole < len(content) {
		line, rest, ended := bytes.Cut(content[whole:], []byte("\n"))
		r, err := parse(line)
		if err != nil || !ended {
			if anyRecord(rest) {
				return nil, whole, records, fmt.Errorf("it is corrupt at byte %d: %w", whole, err)
			}
			return t, whole, records, nil
		}
		if err := play(t, r); err != nil {
			return nil, whole, records, fmt.Errorf("it is corrupt at byte %d: %w", whole, err)
		}
		whole += len(line) + 1
		records++
	}
	return t, whole, records, nil
}

// anyRecord says whether there is a whole record in it.
func anyRecord(content []byte) bool {
	for line := range bytes.Lines(content) {
		if _, err := parse(bytes.TrimSuffix(line, []byte("\n"))); err == nil {
			return true
		}
	}
	return false
}

func parse(line []byte) (r record, err error) {
	if len(line) < prefixLen || line[prefixLen-1] != ' ' {
		return r, errors.New("a line is torn")
	}
	text := line[prefixLen:]
	if string(line[:prefixLen-1]) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return r, errors.New("a line has another checksum")
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("a line is no record: %w", err)
	}
	return r, nil
}

// play does to a table what a record says.
func play(t *ipam.Table, r record) error {
	switch {
	case r.Grant != nil:
		for i, a := range r.Grant.Addresses {
			if !a.IsValid() || slices.Contains(r.Grant.Addresses[:i], a) {
				return errors.New("a lease has no address, or one twice")
			}
		}
		return t.Grant(*r.Grant)
	case r.Release != nil:
		t.Release(r.Release.Key, r.Release.At)
	}
	for _, f := range r.Freed {
		if err := t.Free(f); err != nil {
			return err
		}
	}
	return nil
}

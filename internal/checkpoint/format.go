package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/mesh"
)

// A checkpoint is one line of text, "warren-plan VERSION SHA256", and after it the plan as JSON, whose checksum that is. The plan
// itself says of which node and public key it is.
const (
	magic   = "warren-plan"
	version = 1
	// maxHeader is more than the first line of any version has, in bytes.
	maxHeader = 128
)

// Encode is the plan as the file has it.
func Encode(plan mesh.Plan) ([]byte, error) {
	body, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("encoding the plan: %w", err)
	}
	content := seal(append(body, '\n'))
	if len(content) > MaxSize {
		return nil, fmt.Errorf("encoding the plan: it has %d bytes, more than the %d that are read", len(content), MaxSize)
	}
	return content, nil
}

func seal(body []byte) []byte { return sealAs(magic, body) }

func sealAs(magic string, body []byte) []byte {
	digest := sha256.Sum256(body)
	return append(fmt.Appendf(nil, "%s %d %s\n", magic, version, hex.EncodeToString(digest[:])), body...)
}

// Decode is the inverse of Encode. It refuses what is not whole, of another version, or no plan that could have been made.
func Decode(content []byte) (mesh.Plan, error) {
	if len(content) > MaxSize {
		return mesh.Plan{}, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	body, err := unseal(magic, content)
	if err != nil {
		return mesh.Plan{}, err
	}
	var plan mesh.Plan
	if err := parse(body, &plan); err != nil {
		return mesh.Plan{}, fmt.Errorf("parsing the plan: %w", err)
	}
	if err := validate(plan); err != nil {
		return mesh.Plan{}, fmt.Errorf("checking the plan: %w", err)
	}
	return plan, nil
}

// parse reads one value that has no fields but those which are known.
func parse(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// unseal is what the checksum is of.
func unseal(magic string, content []byte) ([]byte, error) {
	line, _, found := bytes.Cut(content[:min(len(content), maxHeader)], []byte("\n"))
	words := strings.Split(string(line), " ")
	if !found || len(words) != 3 || words[0] != magic {
		return nil, errors.New("it is empty, torn or no checkpoint")
	}
	if words[1] != strconv.Itoa(version) {
		return nil, fmt.Errorf("it is of version %.20q, want %d", words[1], version)
	}
	body := content[len(line)+1:]
	digest := sha256.Sum256(body)
	if words[2] != hex.EncodeToString(digest[:]) {
		return nil, errors.New("it is torn or corrupt: its checksum is another")
	}
	return body, nil
}

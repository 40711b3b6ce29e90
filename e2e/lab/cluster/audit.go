package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// auditPolicy has the API server write down what Warren's agents ask, and not what they say.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  users: ["` + agentUser + `"]
- level: None
`

// agentUser is whom agents speak as.
const agentUser = "system:serviceaccount:kube-system:warren"

// audit writes the policy, and says how the API server is told of it.
func (c *Cluster) audit() ([]string, error) {
	if !c.options.Audit {
		return nil, nil
	}
	policy := c.path("audit/policy.yaml")
	err := os.MkdirAll(filepath.Dir(policy), 0o700) // an API server that is started again has it
	if err == nil {
		err = os.WriteFile(policy, []byte(auditPolicy), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the audit policy: %w", err)
	}
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + c.path("log/audit.log")}, nil
}

// Audit is how many requests of agents the API server has answered, and those that it refused (403), one line each. It needs Options.Audit.
func (c *Cluster) Audit() (answered int, denied []string, err error) {
	f, err := os.Open(c.path("log/audit.log"))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb, RequestURI string
			ResponseStatus   struct {
				Code    int
				Message string
			}
			Annotations map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue // the last line, which is being written
		}
		answered++
		if event.ResponseStatus.Code == http.StatusForbidden {
			denied = append(denied, fmt.Sprintf("%s %s: %s %v", event.Verb, event.RequestURI, event.ResponseStatus.Message, event.Annotations))
		}
	}
	return answered, denied, lines.Err()
}

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Store writes an object into the store as it is, past the API server and its validation: as one from before that. The key is the API
// server's, such as /registry/networkpolicies/NAMESPACE/NAME, and the object is JSON.
func (c *Cluster) Store(ctx context.Context, key string, object []byte) error {
	pair, err := tls.LoadX509KeyPair(c.pki.file("etcd-client.crt"), c.pki.file("etcd-client.key"))
	if err != nil {
		return fmt.Errorf("loading etcd's client certificate: %w", err)
	}
	client := c.httpClient(c.pki.etcd, pair)
	defer client.CloseIdleConnections()
	put, err := json.Marshal(map[string][]byte{"key": []byte(key), "value": object})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, etcdURL+"/v3/kv/put", bytes.NewReader(put))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("storing %s: %s: %s", key, response.Status, body)
	}
	return nil
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/e2e/lab"
)

// The agent's own counts of what it sent to the kernel.
const (
	wireguardMessages = "warren_wireguard_messages_total"
	rtnetlinkMessages = "warren_rtnetlink_messages_total"
)

// scrape reads an agent's metrics that have no labels.
func scrape(ctx context.Context, n *lab.Node) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.MetricsAddress+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's metrics: %w", err)
	}
	defer response.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	if _, ok := values[wireguardMessages]; !ok {
		return nil, fmt.Errorf("the agent's metrics have no %s: status %s", wireguardMessages, response.Status)
	}
	return values, nil
}

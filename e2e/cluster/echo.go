package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/warren-mesh/warren/e2e/lab"
)

// EchoPort is where the pods of the echo service listen.
const EchoPort = 8080

// Echo is the pods of the echo service by node, and its own address and port.
func (c *Cluster) Echo(ctx context.Context) (pods map[string]*corev1.Pod, service string, err error) {
	list, err := c.Client().CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		return nil, "", err
	}
	pods = map[string]*corev1.Pod{}
	for i, p := range list.Items {
		if p.Status.Phase != corev1.PodRunning {
			return nil, "", fmt.Errorf("pod %s on %s is %s", p.Name, p.Spec.NodeName, p.Status.Phase)
		}
		pods[p.Spec.NodeName] = &list.Items[i]
	}
	for _, n := range c.Lab.Nodes() {
		if pods[n.Name] == nil {
			return nil, "", fmt.Errorf("no pod of the echo service is on %s", n.Name)
		}
	}
	s, err := c.Client().CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "echo", metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	return pods, net.JoinHostPort(s.Spec.ClusterIP, "80"), nil
}

// AskService has the pod on a node ask the echo service so many times, and returns how often each pod answered: when all do, since kube-proxy hears
// of them later than we.
func (c *Cluster) AskService(ctx context.Context, n *lab.Node, tries int) (names map[string]int, err error) {
	err = c.until(ctx, func(ctx context.Context) error {
		pods, service, err := c.Echo(ctx)
		if err != nil {
			return err
		}
		if names, err = Ask(ctx, n, pods[n.Name], service, tries); err == nil && len(names) != len(pods) {
			err = fmt.Errorf("answers of %v, want them of %d pods", names, len(pods))
		}
		return err
	})
	return names, err
}

// Ask has a pod ask an address and port so many times for the name of who answers, and returns how often each did. It is asked from its own node, which may
// always reach it.
func Ask(ctx context.Context, n *lab.Node, pod *corev1.Pod, target string, tries int) (names map[string]int, err error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	query := url.Values{
		"request": {"hostname"}, "protocol": {"http"}, "host": {host}, "port": {port}, "tries": {strconv.Itoa(tries)},
	}
	dial := url.URL{Scheme: "http", Host: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(EchoPort)), Path: "/dial", RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, dial.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	var answer struct{ Responses, Errors []string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", body, err)
	}
	names = map[string]int{}
	for _, name := range answer.Responses {
		names[name]++
	}
	if len(answer.Errors) > 0 {
		return names, fmt.Errorf("%d of %d: %s", len(answer.Errors), tries, answer.Errors[0])
	}
	return names, nil
}

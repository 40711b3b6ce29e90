package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// validity is that of every certificate: longer than any lab lives.
const validity = 365 * 24 * time.Hour

// pki is the control plane's certificates, made anew for each. Etcd has an authority of its own: who may talk to the API
// server may not for that reason talk to the store.
type pki struct {
	dir           string
	cluster, etcd *authority
}

// newPKI makes the authorities and everything the programs themselves need, as files in dir.
func newPKI(dir string, o Options) (*pki, error) {
	p := &pki{dir: dir}
	var errs [2]error
	p.cluster, errs[0] = newAuthority("kubernetes-ca")
	p.etcd, errs[1] = newAuthority("etcd-ca")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making the certificate authorities: %w", err)
	}
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	names := slices.Concat(loopback, o.Addresses)
	for _, prefix := range o.ServiceCIDRs {
		names = append(names, prefix.Masked().Addr().Next()) // of the kubernetes Service
	}
	for _, item := range []struct {
		file string
		by   *authority
		what subject
	}{
		{"etcd", p.etcd, subject{name: "etcd", server: true, addresses: loopback, hosts: []string{"localhost"}}},
		{"etcd-client", p.etcd, subject{name: "kube-apiserver"}},
		{"apiserver", p.cluster, subject{name: "kube-apiserver", server: true, addresses: names, hosts: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}}},
		{"controller-manager", p.cluster, subject{name: "kube-controller-manager", server: true, addresses: loopback}},
		{"scheduler", p.cluster, subject{name: "kube-scheduler", server: true, addresses: loopback}},
		{"kubelet-client", p.cluster, subject{name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}},
	} {
		pair, err := item.by.issue(item.what)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(p.write(item.file+".crt", pair.cert), p.write(item.file+".key", pair.key)); err != nil {
			return nil, err
		}
	}
	serviceAccounts, public, err := newKey()
	if err != nil {
		return nil, err
	}
	return p, errors.Join(p.write("ca.crt", p.cluster.pem), p.write("etcd-ca.crt", p.etcd.pem),
		p.write("service-accounts.key", serviceAccounts), p.write("service-accounts.pub", public))
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) write(name string, content []byte) error {
	return os.WriteFile(p.file(name), content, 0o600)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte // cert
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key, pem: block("CERTIFICATE", der)}, err
}

// subject is whom a certificate is for. All may be clients.
type subject struct {
	name      string   // common name: the user
	groups    []string // organizations: the user's groups
	server    bool
	addresses []netip.Addr
	hosts     []string
}

// keyPair is a certificate and its private key, PEM.
type keyPair struct{ cert, key []byte }

func (a *authority) issue(s subject) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("making the key of %s: %w", s.name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return keyPair{}, fmt.Errorf("making the certificate of %s: %w", s.name, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.name, Organization: s.groups},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, DNSNames: s.hosts,
	}
	if s.server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, address := range s.addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(address.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing the certificate of %s: %w", s.name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, fmt.Errorf("encoding the key of %s: %w", s.name, err)
	}
	return keyPair{cert: block("CERTIFICATE", der), key: block("PRIVATE KEY", private)}, nil
}

// newKey makes a key that signs and verifies without a certificate, PEM.
func newKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a signing key: %w", err)
	}
	privateDER, errPrivate := x509.MarshalPKCS8PrivateKey(key)
	publicDER, errPublic := x509.MarshalPKIXPublicKey(key.Public())
	if err := errors.Join(errPrivate, errPublic); err != nil {
		return nil, nil, fmt.Errorf("encoding a signing key: %w", err)
	}
	return block("PRIVATE KEY", privateDER), block("PUBLIC KEY", publicDER), nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

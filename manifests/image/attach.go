package main

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	billType  = "application/vnd.cyclonedx+json"
	emptyType = "application/vnd.oci.empty.v1+json"
	unknown   = "unknown" // the platform of what no runtime should take for an image
)

// artifact is an OCI 1.1 artifact of one blob about an image, for which the library has no type.
type artifact struct {
	blob     v1.Layer
	manifest []byte
}

var _ partial.CompressedImageCore = artifact{}

// attach makes a bill of materials an artifact that refers to its image. It goes into the image's index, and so wherever that is copied.
func attach(bill []byte, image v1.Image) (mutate.IndexAddendum, error) {
	subject, err := partial.Descriptor(image)
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	layer := static.NewLayer(bill, billType)
	blob, err := partial.Descriptor(layer)
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	config, err := partial.Descriptor(static.NewLayer(emptyConfig(), emptyType))
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	manifest, err := json.Marshal(struct {
		v1.Manifest
		ArtifactType string `json:"artifactType"`
	}{
		v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: *config, Layers: []v1.Descriptor{*blob}, Subject: subject},
		billType,
	})
	if err != nil {
		return mutate.IndexAddendum{}, fmt.Errorf("encoding the manifest: %w", err)
	}
	made, err := partial.CompressedToImage(artifact{blob: layer, manifest: manifest})
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	return mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: unknown, Architecture: unknown},
		// As BuildKit says of which image an attestation is.
		Annotations: map[string]string{"vnd.docker.reference.digest": subject.Digest.String()},
	}}, nil
}

func emptyConfig() []byte { return []byte("{}") }

// MediaType implements partial.CompressedImageCore.
func (artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawConfigFile implements partial.CompressedImageCore.
func (artifact) RawConfigFile() ([]byte, error) { return emptyConfig(), nil }

// RawManifest implements partial.CompressedImageCore.
func (a artifact) RawManifest() ([]byte, error) { return a.manifest, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (a artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if own, err := a.blob.Digest(); err != nil || own != h {
		return nil, fmt.Errorf("the artifact has no blob %s: %w", h, err)
	}
	return a.blob, nil
}

// Descriptor says what kind of artifact it is also in the index.
func (a artifact) Descriptor() (*v1.Descriptor, error) {
	digest, err := partial.Digest(a)
	if err != nil {
		return nil, err
	}
	return &v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: billType, Digest: digest, Size: int64(len(a.manifest))}, nil
}

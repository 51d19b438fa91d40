package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	helmregistry "helm.sh/helm/v3/pkg/registry"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
)

const (
	ociScheme        = "oci://"
	maxManifestBytes = 4 << 20
	maxTags          = 20_000
)

var errTooManyTags = errors.New("the repository has too many tags")

// pull fetches a chart from an OCI registry.
func (s *Source) pull(ctx context.Context, ref bundlereader.ChartRef) (archive, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	address := ociAddress(ref)
	who := identityOf(ref)
	a, err := s.pullFrom(ctx, strings.TrimPrefix(address, ociScheme), ref.Version, who.at(address))
	if err != nil {
		return archive{}, fmt.Errorf("%s: %w", redact(address), ociError(ctx, err, who, address))
	}
	return a, nil
}

// ociAddress joins repository and chart, unless the repository is the chart's.
func ociAddress(ref bundlereader.ChartRef) string {
	if ref.Repo == "" {
		return ref.Chart
	}
	base := strings.TrimSuffix(ref.Repo, "/")
	if ref.Chart == "" || path.Base(base) == ref.Chart {
		return base
	}
	return base + "/" + ref.Chart
}

func (s *Source) pullFrom(ctx context.Context, name, version string, let *bundlereader.ChartAuth) (archive, error) {
	repository, err := s.registry(name, let)
	if err != nil {
		return archive{}, err
	}
	tag, err := chooseTag(ctx, repository, version)
	if err != nil {
		return archive{}, err
	}
	layer, err := chartLayer(ctx, repository, tag)
	if err != nil {
		return archive{}, err
	}
	key := digestKey(let, layer.Digest.Encoded())
	if a, ok := s.cache.get(key); ok {
		return a, nil
	}
	data, err := content.FetchAll(ctx, repository, layer)
	if err != nil {
		return archive{}, err
	}
	a := archive{data: data}
	s.cache.put(key, a)
	return a, nil
}

// registry prepares a conversation with a registry. Without TLS it is only if
// the user says so.
func (s *Source) registry(name string, let *bundlereader.ChartAuth) (*remote.Repository, error) {
	repository, err := remote.NewRepository(name)
	if err != nil {
		return nil, errors.New("the address is not that of a chart in a registry")
	}
	shared, err := s.clientFor(let)
	if err != nil {
		return nil, err
	}
	repository.PlainHTTP = let != nil && let.BasicHTTP
	client := &auth.Client{Client: shared, Cache: auth.NewCache()}
	if let != nil && (let.Username != "" || let.Password != "") {
		client.Credential = auth.StaticCredential(repository.Reference.Registry, auth.Credential{Username: let.Username, Password: let.Password})
	}
	client.SetUserAgent(userAgent)
	repository.Client = client
	repository.MaxMetadataBytes = maxManifestBytes
	return repository, nil
}

// chooseTag returns the tag, or the digest, of the version wanted.
func chooseTag(ctx context.Context, repository *remote.Repository, version string) (string, error) {
	if version == "" && repository.Reference.Reference != "" {
		return repository.Reference.Reference, nil
	}
	if exact(version) {
		return toTag(version), nil
	}
	if version == "" {
		version = "*"
	}
	constraint, err := semver.NewConstraint(version)
	if err != nil {
		return "", fmt.Errorf("%q is neither a version nor a constraint", version)
	}
	var best *semver.Version
	count := 0
	err = repository.Tags(ctx, "", func(tags []string) error {
		if count += len(tags); count > maxTags {
			return errTooManyTags
		}
		for _, tag := range tags {
			// A tag cannot hold a plus sign; charts write an underscore.
			v, err := semver.StrictNewVersion(strings.ReplaceAll(tag, "_", "+"))
			if err == nil && constraint.Check(v) && (best == nil || v.GreaterThan(best)) {
				best = v
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if best == nil {
		return "", fmt.Errorf("the registry has no version %q of the chart", version)
	}
	return toTag(best.Original()), nil
}

func toTag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// chartLayer finds the archive in the manifest.
func chartLayer(ctx context.Context, repository *remote.Repository, tag string) (ocispec.Descriptor, error) {
	described, err := repository.Resolve(ctx, tag)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if described.Size > maxManifestBytes {
		return ocispec.Descriptor{}, errors.New("the manifest is too large")
	}
	data, err := content.FetchAll(ctx, repository, described)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return ocispec.Descriptor{}, errors.New("the manifest cannot be parsed")
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType != helmregistry.ChartLayerMediaType && layer.MediaType != helmregistry.LegacyChartLayerMediaType {
			continue
		}
		if layer.Size > maxArchiveBytes {
			return ocispec.Descriptor{}, fmt.Errorf("the archive has %d bytes, the limit is %d", layer.Size, maxArchiveBytes)
		}
		if err := layer.Digest.Validate(); err != nil {
			return ocispec.Descriptor{}, errors.New("the manifest names an invalid digest")
		}
		return layer, nil
	}
	return ocispec.Descriptor{}, errors.New("the registry holds something that is not a chart")
}

// ociError shortens what the registry client says to what helps.
func ociError(ctx context.Context, err error, who identity, address string) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return who.denied("the registry answers 401", address)
	case errors.As(err, &answer):
		text := fmt.Sprintf("the registry answers %d", answer.StatusCode)
		if len(answer.Errors) > 0 {
			text += ": " + answer.Errors[0].Code
		}
		if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
			return who.denied(text, address)
		}
		return errors.New(text)
	}
	return transportError(ctx, err)
}

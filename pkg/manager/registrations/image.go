package registrations

import "strings"

// agentImage is an image as the chart of the agent wants it.
type agentImage struct {
	Registry   string `json:"registry,omitempty"`
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
}

// imageOf takes an image apart: REGISTRY/REPOSITORY:TAG or …@DIGEST, where the registry is everything before the last
// slash, so that another can take its place.
func imageOf(image string) agentImage {
	rest, digest, _ := strings.Cut(image, "@")
	parsed := agentImage{Repository: rest, Digest: digest}
	if slash := strings.LastIndexByte(rest, '/'); slash >= 0 {
		parsed.Registry, parsed.Repository = rest[:slash], rest[slash+1:]
	}
	parsed.Repository, parsed.Tag, _ = strings.Cut(parsed.Repository, ":")
	return parsed
}

// Package names computes every name that Flotilla gives to an object, and holds every label, annotation, finalizer,
// Secret type and fixed name it uses. Nothing else in Flotilla makes up a name.
//
// All functions are pure: the same input gives the same name, on every version and every replica. Names that Fleet
// gives, too, follow its rules, so that objects of a Fleet hub are recognised.
package names

import (
	"crypto/md5"  //nolint:gosec // names, not secrets: the digests are part of the wire format
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxLabel is the length of the longest DNS label, and so of the longest name of a namespace.
	maxLabel = 63
	// maxRelease is the length of the longest name of a Helm release.
	maxRelease = 53
)

// KeyHash returns 12 hexadecimal digits that stand for s. Only the first 100 bytes of s count.
func KeyHash(s string) string {
	return sha256Hex(s[:min(len(s), 100)])[:12]
}

// SafeConcat joins parts with "-". A result of 64 bytes or more is cut and ends in a digest of the whole, so that it
// has at most 63 bytes.
func SafeConcat(parts ...string) string {
	full := strings.Join(parts, "-")
	if len(full) <= maxLabel {
		return full
	}
	digest := sha256Hex(full)
	const cut = maxLabel - len("-") - 5
	if last := full[cut-1]; 'a' <= last && last <= 'z' || '0' <= last && last <= '9' {
		return full[:cut] + "-" + digest[:5]
	}
	return full[:cut-1] + "-" + digest[:6]
}

// Limit returns s cut to at most n bytes; what is cut ends in a digest of the whole where n leaves room for one.
func Limit(s string, n int) string {
	const suffix = len("-") + 5
	if len(s) <= n {
		return s
	}
	if n <= suffix {
		return s[:n]
	}
	head := s[:n-suffix]
	if !strings.HasSuffix(head, "-") {
		head += "-"
	}
	return head + md5Hex(s)[:5]
}

var (
	notInRelease = regexp.MustCompile(`[^a-zA-Z0-9-]`)
	betweenWords = regexp.MustCompile(`[^a-z0-9]+`)
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// HelmRelease turns s, usually a path or the name of a bundle, into the name of a Helm release: a DNS label of at most
// 53 bytes. Where characters had to be replaced, a digest of s keeps names apart that would be the same otherwise.
func HelmRelease(s string) string {
	s = strings.ReplaceAll(s, "/", "-")
	name := s
	if notInRelease.MatchString(s) || strings.ToLower(s) != s {
		name += "-" + md5Hex(s)[:8]
	}
	name = betweenWords.ReplaceAllString(strings.ToLower(name), "-")
	name = Limit(strings.Trim(name, "-"), maxRelease)
	if !dnsLabel.MatchString(name) {
		return md5Hex(s)[:24]
	}
	return name
}

// Bundle returns the name of the bundle made from a folder of a GitRepo. The folder is relative to the root of the
// repository, which is "" or ".".
func Bundle(gitRepo, folder string) string {
	folder = strings.Trim(folder, "/")
	if folder == "" || folder == "." {
		return HelmRelease(gitRepo)
	}
	return HelmRelease(gitRepo + "/" + folder)
}

// ClusterNamespace returns the namespace on the hub that is made for a Cluster and holds nothing of another one. Dots,
// which the name of a Cluster may have and that of a namespace may not, become "-".
func ClusterNamespace(namespace, name string) string {
	return SafeConcat("cluster", namespace, strings.ReplaceAll(name, ".", "-"), KeyHash(namespace+"::"+name))
}

// Content returns the name of the Content with the given digest (SHA-256, hexadecimal).
func Content(sha256Sum string) string {
	return cut("s-"+sha256Sum, maxLabel)
}

// RegisteredCluster returns the name of the Cluster of an agent that registers itself with the given identity.
func RegisteredCluster(clientID string) string {
	return SafeConcat("cluster", KeyHash(clientID))
}

// RegistrationSecret returns the name of the Secret, in NamespaceRegistrations, that holds the credentials made for one
// request of an agent.
func RegistrationSecret(clientID, clientRandom string) string {
	return cut("c-"+sha256Hex(clientID+clientRandom), maxLabel)
}

// Registration returns the digest by which an agent that registered itself is known again. It tells nothing about the name
// of the Secret with the answer, which must not be guessed.
func Registration(clientID, clientRandom string) string {
	return sha256Hex("registration\n" + clientID + "\n" + clientRandom)
}

// RegistrationToken returns the value of LabelRegistrationToken for a ClusterRegistrationToken.
func RegistrationToken(token string) string {
	return SafeConcat(token)
}

// ImportToken returns the name of the ClusterRegistrationToken used to import a Cluster.
func ImportToken(cluster string) string {
	return SafeConcat("import-token", cluster)
}

// AgentBundle returns the name of the bundle that delivers the agent of a Cluster.
func AgentBundle(cluster string) string {
	return SafeConcat("fleet-agent", cluster)
}

// AgentContents returns the name of the ClusterRoleBinding that lets the agent of a cluster namespace read contents.
func AgentContents(clusterNamespace string) string {
	return "fleet-content-" + clusterNamespace
}

// AgentCluster returns the name of the Role and RoleBinding, in the workspace, that let an agent read its Cluster.
func AgentCluster(cluster string) string {
	return Agent + "-" + cluster
}

// AgentRole returns the name of the ClusterRole and ClusterRoleBinding of an agent downstream.
func AgentRole(agentNamespace string) string {
	return SafeConcat(agentNamespace, Agent)
}

// ImageScan returns the name of the index-th ImageScan of a bundle.
func ImageScan(bundle string, index int) string {
	return SafeConcat("imagescan", bundle, strconv.Itoa(index))
}

// Target returns the name of the index-th target of a bundle, where the user gave it none.
func Target(index int) string {
	const digits = 3
	number := strconv.Itoa(index)
	return "target" + strings.Repeat("0", max(0, digits-len(number))) + number
}

// Release returns the form in which a status names a Helm release and its revision.
func Release(namespace, name string, revision int) string {
	return namespace + "/" + name + ":" + strconv.Itoa(revision)
}

// Digest returns the digest of data (SHA-256, hexadecimal); it is empty if there is none.
func Digest(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return sha256Hex(string(data))
}

// Fingerprint identifies what a deployment runs: its deploymentID, and the digest of what it has copied to its cluster, which may
// be empty.
func Fingerprint(deploymentID, copied string) string {
	if copied == "" {
		return deploymentID
	}
	return deploymentID + "+" + copied
}

// ObjectSet returns the identity that the objects of a bundle carry downstream, in AnnotationObjectSetID. The scope is
// that of the agent, usually empty.
func ObjectSet(bundle, agentScope string) string {
	if agentScope == "" {
		return SafeConcat("default", bundle)
	}
	return SafeConcat("default", bundle, agentScope)
}

// ObjectSetHash returns the digest of an object set's identity, for LabelObjectSetHash.
func ObjectSetHash(objectSet string) string {
	sum := sha1.Sum([]byte(objectSet)) //nolint:gosec // not a secret
	return hex.EncodeToString(sum[:])
}

// IsLabel says whether s is a DNS label, as the names of namespaces must be.
func IsLabel(s string) bool {
	return len(s) <= maxLabel && dnsLabel.MatchString(s)
}

func cut(s string, n int) string {
	return s[:min(len(s), n)]
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // not a secret
	return hex.EncodeToString(sum[:])
}

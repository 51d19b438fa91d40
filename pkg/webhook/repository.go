package webhook

import (
	"net/url"
	"regexp"
	"strings"
)

// scp is user@host:path, the short form of an SSH address.
var scp = regexp.MustCompile(`^(?:[^@/:\s]+@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+\]):([^\s]+)$`)

const maxAddress = 2048

// Repository returns the name of the repository at an address: host and path,
// without what differs between the addresses of one repository, such as the
// protocol, user, port, ".git" and the case of letters. It returns false for
// what is no address. Names are for comparing only: two repositories on
// different ports of one host have the same one.
func Repository(address string) (string, bool) {
	if address == "" || len(address) > maxAddress {
		return "", false
	}
	host, path := "", ""
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil {
			return "", false
		}
		host, path = u.Hostname(), u.Path
	} else if parts := scp.FindStringSubmatch(address); parts != nil {
		host, path = strings.Trim(parts[1], "[]"), parts[2]
		if unescaped, err := url.PathUnescape(path); err == nil {
			path = unescaped
		}
	}
	host, path = strings.ToLower(host), strings.ToLower(strings.Trim(path, "/"))
	path = strings.TrimSuffix(strings.TrimSuffix(path, ".git"), "/")
	host, path = azure(host, path)
	if host == "" || path == "" {
		return "", false
	}
	return host + "/" + path, true
}

// azure brings the addresses of one repository of Azure DevOps together, which
// differ in host and path:
//
//	https://dev.azure.com/org/project/_git/repo
//	https://org.visualstudio.com/project/_git/repo
//	git@ssh.dev.azure.com:v3/org/project/repo
func azure(host, path string) (string, string) {
	const home = "dev.azure.com"
	if org, ok := strings.CutSuffix(host, ".visualstudio.com"); ok && !strings.Contains(org, ".") {
		return home, org + "/" + strings.TrimPrefix(path, "defaultcollection/")
	}
	parts := strings.Split(path, "/")
	if (host == "ssh."+home || host == "vs-ssh.visualstudio.com") && len(parts) == 4 && parts[0] == "v3" {
		return home, parts[1] + "/" + parts[2] + "/_git/" + parts[3]
	}
	return host, path
}

// Follows says whether a GitRepo with this branch and revision, of which a
// revision wins and neither means the branch master, reads what the ref points to.
func (c Change) Follows(branch, revision string) bool {
	if revision != "" {
		return c.Ref == "refs/tags/"+revision || c.Ref == "refs/"+revision || c.Ref == revision
	}
	if branch == "" {
		branch = "master"
	}
	return c.Ref == "refs/heads/"+branch
}

package webhook

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// format is how one kind of Git host delivers.
type format struct {
	provider Provider
	// is says whether a request comes from such a host.
	is func(http.Header) bool
	// event returns what the host calls the event.
	event func(header http.Header, body []byte) string
	// pushEvents are the events that are pushes.
	pushEvents []string
	read       func(body []byte) (push, error)
	proof      proof
}

func (f format) pushes(event string) bool { return slices.Contains(f.pushEvents, event) }

// find returns how the sender of a request delivers. Gitea also sends the
// headers of Gogs and GitHub, Bitbucket's two kinds share one.
func find(header http.Header) (format, bool) {
	for _, f := range formats() {
		if f.is(header) {
			return f, true
		}
	}
	return format{}, false
}

func formats() []format {
	return []format{
		{Gogs, has("X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"), named("X-Gogs-Event", "X-Gitea-Event", "X-Forgejo-Event"),
			[]string{"push", "create", "delete"}, readGitHub, proveGogs},
		{GitHub, has("X-Github-Event"), named("X-Github-Event"), []string{"push"}, readGitHub, proveGitHub},
		{GitLab, has("X-Gitlab-Event"), named("X-Gitlab-Event"), []string{"Push Hook", "Tag Push Hook", "System Hook"}, readGitLab, proveGitLab},
		{BitbucketServer, isBitbucketServer, named("X-Event-Key"), []string{"repo:refs_changed"}, readBitbucketServer, proveBitbucketServer},
		{BitbucketCloud, has("X-Event-Key"), named("X-Event-Key"), []string{"repo:push"}, readBitbucketCloud, proveBitbucketCloud},
		{AzureDevOps, isAzure, azureEvent, []string{"git.push"}, readAzure, proveAzure},
	}
}

func has(names ...string) func(http.Header) bool {
	return func(header http.Header) bool {
		return slices.ContainsFunc(names, func(name string) bool { return header.Get(name) != "" })
	}
}

func named(names ...string) func(http.Header, []byte) string {
	return func(header http.Header, _ []byte) string {
		for _, name := range names {
			if event := header.Get(name); event != "" {
				return event
			}
		}
		return ""
	}
}

// isBitbucketServer tells the server from the cloud, which names its hooks.
func isBitbucketServer(header http.Header) bool {
	event := header.Get("X-Event-Key")
	return event == "repo:refs_changed" || event == "diagnostics:ping" || event != "" && header.Get("X-Hook-Uuid") == ""
}

// isAzure recognises a service hook by the id of its activity; a proxy that
// drops it leaves the password.
func isAzure(header http.Header) bool {
	return header.Get("X-Vss-Activityid") != "" || strings.HasPrefix(header.Get("Authorization"), "Basic ")
}

func azureEvent(_ http.Header, body []byte) string {
	var sent struct{ EventType string }
	if decode(body, &sent) != nil {
		return ""
	}
	return sent.EventType
}

// readGitHub reads what GitHub, Gogs, Gitea and Forgejo send.
func readGitHub(body []byte) (push, error) {
	var sent struct {
		Ref        string
		RefType    string `json:"ref_type"`
		After      string
		HeadCommit *struct{ ID string } `json:"head_commit"`
		Repository struct {
			HTMLURL  string `json:"html_url"`
			CloneURL string `json:"clone_url"`
			SSHURL   string `json:"ssh_url"`
		}
	}
	if err := decode(body, &sent); err != nil {
		return push{}, err
	}
	var p push
	p.address(sent.Repository.HTMLURL, sent.Repository.CloneURL, sent.Repository.SSHURL)
	commit, ref := sent.After, sent.Ref
	// Of an annotated tag, after is the tag.
	if sent.HeadCommit != nil && strings.HasPrefix(ref, "refs/tags/") {
		commit = sent.HeadCommit.ID
	}
	// Events about making and deleting a tag name it in short.
	if sent.RefType == "tag" && !strings.HasPrefix(ref, "refs/") {
		ref = "refs/tags/" + ref
	}
	p.change(ref, commit)
	return p, nil
}

func readGitLab(body []byte) (push, error) {
	var sent struct {
		Ref         string
		After       string
		CheckoutSHA string `json:"checkout_sha"`
		Project     struct {
			WebURL     string `json:"web_url"`
			GitHTTPURL string `json:"git_http_url"`
			GitSSHURL  string `json:"git_ssh_url"`
		}
	}
	if err := decode(body, &sent); err != nil {
		return push{}, err
	}
	var p push
	p.address(sent.Project.WebURL, sent.Project.GitHTTPURL, sent.Project.GitSSHURL)
	commit := sent.CheckoutSHA
	if commit == "" {
		commit = sent.After
	}
	p.change(sent.Ref, commit)
	return p, nil
}

func readBitbucketCloud(body []byte) (push, error) {
	type ref struct {
		Type   string
		Name   string
		Target struct{ Hash string }
	}
	var sent struct {
		Push struct {
			Changes []struct{ New, Old *ref }
		}
		Repository struct {
			Links struct{ HTML struct{ Href string } }
		}
	}
	if err := decode(body, &sent); err != nil {
		return push{}, err
	}
	var p push
	p.address(sent.Repository.Links.HTML.Href)
	for _, c := range sent.Push.Changes {
		at, commit := c.New, ""
		if at == nil {
			at = c.Old
		} else {
			commit = at.Target.Hash
		}
		if at == nil {
			continue
		}
		kind := "refs/heads/"
		if at.Type == "tag" || at.Type == "annotated_tag" {
			kind = "refs/tags/"
		}
		p.change(kind+at.Name, commit)
	}
	return p, nil
}

func readBitbucketServer(body []byte) (push, error) {
	type link struct{ Href string }
	var sent struct {
		Changes []struct {
			Ref    struct{ ID string }
			ToHash string
		}
		Repository struct {
			Slug    string
			Project struct{ Key string }
			Links   struct{ Clone, Self []link }
		}
	}
	if err := decode(body, &sent); err != nil {
		return push{}, err
	}
	var p push
	for _, l := range sent.Repository.Links.Clone {
		p.address(l.Href)
	}
	// Servers that list no addresses to clone from tell where the repository
	// is shown, at least.
	for _, l := range sent.Repository.Links.Self {
		shown, err := url.Parse(l.Href)
		if err != nil || shown.Host == "" {
			continue
		}
		before, _, _ := strings.Cut(shown.Path, "/projects/")
		within := "/" + sent.Repository.Project.Key + "/" + sent.Repository.Slug
		p.address("https://"+shown.Host+before+"/scm"+within, "ssh://"+shown.Hostname()+within)
	}
	for _, c := range sent.Changes {
		p.change(c.Ref.ID, c.ToHash)
	}
	return p, nil
}

func readAzure(body []byte) (push, error) {
	var sent struct {
		Resource struct {
			RefUpdates []struct{ Name, NewObjectID string }
			Repository struct{ RemoteURL string }
		}
	}
	if err := decode(body, &sent); err != nil {
		return push{}, err
	}
	var p push
	p.address(sent.Resource.Repository.RemoteURL)
	for _, u := range sent.Resource.RefUpdates {
		p.change(u.Name, u.NewObjectID)
	}
	return p, nil
}

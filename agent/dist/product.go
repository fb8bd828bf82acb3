package dist

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"telltale.dev/agent/dist/deb"
	"telltale.dev/agent/dist/notices"
)

// product is a program that is given to others.
type product struct {
	name, pkg   string // of the program and its package, and what the go command builds
	summary     string
	description []string
	files       map[string]string // of content → their place; those below /etc are the administrator's
	prints      map[string]string // place → what the program's command of this name prints; compressed where the place says .gz
	scripts     string            // folder of content with the maintainer scripts; "": none
}

func products() []product {
	return []product{
		{
			name: "telltale-agent", pkg: "telltale.dev/agent/cmd/telltale-agent", summary: "vehicle agent: CAN buses to the cloud",
			description: []string{
				"Reads CAN buses, decodes them with DBC files, keeps what campaigns want on",
				"disk and hands it to a Telltale cloud over MQTT with mutual TLS.",
			},
			files: map[string]string{
				"agent.yaml":             "/etc/telltale/agent.yaml",
				"telltale-agent.service": "/usr/lib/systemd/system/telltale-agent.service",
				"suspend.md":             "/usr/share/doc/telltale-agent/suspend.md",
			},
			scripts: ".",
		},
		{
			name: "telltale-cloud", pkg: "telltale.dev/cloud/cmd/telltale-cloud", summary: "compact cloud for vehicles that run the Telltale agent",
			description: []string{
				"MQTT broker, registry, ingest, last known state, Parquet lake and HTTP API in",
				"one process.",
			},
			files: map[string]string{
				"cloud/telltale-cloud.default": "/etc/default/telltale-cloud",
				"cloud/telltale-cloud.service": "/usr/lib/systemd/system/telltale-cloud.service",
			},
			scripts: "cloud",
		},
		{
			name: "telltale", pkg: "telltale.dev/simulator/cmd/telltale", summary: "command line for a Telltale cloud, and its simulator",
			description: []string{
				"Asks a Telltale cloud, pushes campaigns and updates, checks and decodes logs,",
				"and drives simulated vehicles.",
			},
			prints: map[string]string{
				"/usr/share/man/man1/telltale.1.gz":               "man",
				"/usr/share/bash-completion/completions/telltale": "completion bash",
			},
		},
	}
}

// find gives the product of that name.
func find(name string) (product, error) {
	all := products()
	i := slices.IndexFunc(all, func(p product) bool { return p.name == name })
	if i < 0 {
		return product{}, fmt.Errorf("--product %s: expected telltale-agent, telltale-cloud or telltale", name)
	}
	return all[i], nil
}

// contents are the files of the product's package. None of them is a secret, and only
// what the package brings is in it: identities and keys are made where they are used.
func (p product) contents(a arch, version string, binary []byte) ([]deb.File, error) {
	modules, err := notices.Modules(".", a.environment(), "", p.pkg)
	if err != nil {
		return nil, err
	}
	text, err := notices.Text(modules)
	if err != nil {
		return nil, err
	}
	files := []deb.File{
		{Path: "/usr/bin/" + p.name, Mode: 0o755, Data: binary},
		{Path: "/usr/share/doc/" + p.name + "/THIRD-PARTY", Mode: 0o644, Data: text},
	}
	places := map[string]string{"copyright": "/usr/share/doc/" + p.name + "/copyright"}
	for name, to := range p.files {
		places[name] = to
	}
	for name, to := range places {
		data, err := content.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, deb.File{Path: to, Mode: 0o644, Config: strings.HasPrefix(to, "/etc/"), Data: data})
	}
	for to, command := range p.prints {
		data, err := p.printed(version, command)
		if err == nil && strings.HasSuffix(to, ".gz") {
			data, err = compressed(data)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, deb.File{Path: to, Mode: 0o644, Data: data})
	}
	return files, nil
}

// maintainerScripts are those of the product's package.
func (p product) maintainerScripts() (map[string]string, error) {
	scripts := map[string]string{}
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		if p.scripts == "" {
			break
		}
		from := name
		if p.scripts != "." {
			from = p.scripts + "/" + name
		}
		text, err := content.ReadFile(from)
		if err != nil {
			return nil, err
		}
		scripts[name] = string(text)
	}
	return scripts, nil
}

// environment is that of the go command for the architecture.
func (a arch) environment() []string {
	return append(os.Environ(), append([]string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS="}, a.env...)...)
}

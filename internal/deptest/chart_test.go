package deptest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"

	"mrcproxy/config"
)

const (
	chart     = root + "/deploy/helm/mrcproxy"
	manifests = root + "/deploy/kubernetes/mrcproxy.yaml"
)

// manifest is a Kubernetes object.
type manifest = map[string]any

// at is what stands at a path; nil where nothing does.
func at(m manifest, path ...string) any {
	var v any = m
	for _, key := range path {
		switch here := v.(type) {
		case map[string]any:
			v = here[key]
		case []any:
			v = here[0]
		default:
			return nil
		}
	}
	return v
}

// readManifests reads the objects of a file, by kind.
func readManifests(t *testing.T, text []byte) map[string]manifest {
	t.Helper()
	all := map[string]manifest{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var m manifest
		if err := d.Decode(&m); err != nil {
			break
		}
		if m == nil {
			continue
		}
		kind, _ := m["kind"].(string)
		if kind == "" || all[kind] != nil {
			t.Fatalf("an object without a kind, or two of kind %q", kind)
		}
		all[kind] = m
	}
	return all
}

// render is what of Helm the chart uses: enough to see that the manifests, which Helm wrote, are still the chart's.
func render(t *testing.T, values map[string]any) []byte {
	t.Helper()
	top := template.New("")
	indent := func(n int, s string) string {
		return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
	}
	top.Funcs(template.FuncMap{
		"nindent": indent,
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := top.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"toYaml": func(v any) (string, error) {
			var b strings.Builder
			e := yaml.NewEncoder(&b)
			e.SetIndent(2)
			err := e.Encode(v)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
	})
	files, err := filepath.Glob(chart + "/templates/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		template.Must(top.New(filepath.Base(name)).Parse(string(data)))
	}
	data := map[string]any{"Values": values, "Release": map[string]any{"Name": "mrcproxy", "Namespace": "mrcproxy"}}
	var b bytes.Buffer
	for _, name := range files {
		if filepath.Ext(name) == ".yaml" {
			b.WriteString("---\n")
			if err := top.ExecuteTemplate(&b, filepath.Base(name), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.Bytes()
}

func chartValues(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestManifests: the manifests are the chart's (`make chart` writes them), object by object.
func TestManifests(t *testing.T) {
	text, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	values := chartValues(t)
	values["serviceMonitor"].(map[string]any)["enabled"] = true
	got, want := readManifests(t, render(t, values)), readManifests(t, text)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) || len(want) != 5 {
		t.Errorf("the chart makes %v, the manifests are %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for kind := range want {
		if g, w := fmt.Sprint(got[kind]), fmt.Sprint(want[kind]); g != w {
			t.Errorf("%s: run `make chart`\nchart:    %s\nmanifest: %s", kind, g, w)
		}
	}
	values["serviceMonitor"].(map[string]any)["enabled"] = false
	if _, ok := readManifests(t, render(t, values))["ServiceMonitor"]; ok {
		t.Error("a ServiceMonitor that was not wanted")
	}
}

// TestChart: what operators rely on, and that the configuration in the chart is one that the proxy accepts.
func TestChart(t *testing.T) {
	t.Setenv("MRCPROXY_ADVERTISE", "10.0.0.5")
	t.Setenv("MRCPROXY_SECRET", "0123456789abcdef")
	text, err := os.ReadFile(manifests)
	if err != nil {
		t.Fatal(err)
	}
	all := readManifests(t, text)
	c, err := config.Parse("values.yaml", []byte(at(all["ConfigMap"], "data", "mrcproxy.yaml").(string)))
	if err != nil {
		t.Fatal(err)
	}
	pod := []string{"spec", "template", "spec"}
	container := append(slices.Clone(pod), "containers", "0")
	for want, path := range map[string][]string{
		"true":                     append(slices.Clone(pod), "hostNetwork"),
		"ClusterFirstWithHostNet":  append(slices.Clone(pod), "dnsPolicy"),
		"map[seconds:5]":           append(slices.Clone(container), "lifecycle", "preStop", "sleep"),
		"/-/ready":                 append(slices.Clone(container), "readinessProbe", "httpGet", "path"),
		"0":                        {"spec", "strategy", "rollingUpdate", "maxSurge"},
		"map[drop:[ALL]]":          append(slices.Clone(container), "securityContext", "capabilities"),
		"map[type:RuntimeDefault]": append(slices.Clone(pod), "securityContext", "seccompProfile"),
	} {
		if got := fmt.Sprint(at(all["Deployment"], path...)); got != want {
			t.Errorf("%s is %s, want %s", strings.Join(path, "."), got, want)
		}
	}
	if at(all["Service"], "spec", "clusterIP") != "None" {
		t.Error("the service is not headless")
	}
	labels := fmt.Sprint(at(all["Deployment"], "spec", "template", "metadata", "labels"))
	for kind, path := range map[string][]string{
		"Deployment": {"spec", "selector", "matchLabels"}, "Service": {"spec", "selector"},
		"PodDisruptionBudget": {"spec", "selector", "matchLabels"}, "ServiceMonitor": {"spec", "selector", "matchLabels"},
	} {
		if got := fmt.Sprint(at(all[kind], path...)); got != labels {
			t.Errorf("%s selects %s, the pods are %s", kind, got, labels)
		}
	}
	values := chartValues(t)
	ports := values["ports"].(map[string]any)
	if int(c.Listen[0].Addr.Port()) != ports["sip"] || !strings.HasSuffix(c.Admin.Listen, fmt.Sprint(":", ports["http"])) {
		t.Errorf("ports %v are not those of listen %v and admin.listen %s", ports, c.Listen, c.Admin.Listen)
	}
	grace, pre := values["terminationGracePeriodSeconds"].(int), values["preStopSeconds"].(int)
	if need := (c.Drain.AcceptFor + c.Drain.Timeout).Seconds() + float64(pre); float64(grace) <= need {
		t.Errorf("terminationGracePeriodSeconds is %d, a stop takes up to %v s", grace, need)
	}
}

// TestChartSchema: each value has its place in the schema, which Helm checks values by.
func TestChartSchema(t *testing.T) {
	schema, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for key := range chartValues(t) {
		if !regexp.MustCompile(`(?m)^    "` + key + `":`).Match(schema) {
			t.Errorf("values.schema.json does not have %s", key)
		}
	}
}

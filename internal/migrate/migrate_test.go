package migrate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"mrcproxy/config"
)

var update = flag.Bool("update", false, "write the golden files")

func file(t *testing.T, name string) *File {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return &File{Name: name, Data: data}
}

// accepted compares with the golden file, and wants a configuration that serve accepts.
func accepted(t *testing.T, name string, got []byte) *config.Config {
	t.Helper()
	golden := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("not as in %s:\n%s", golden, got)
	}
	c, err := config.Parse(name, got)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cluster is where an INVITE with the User-Agent goes; "" is rejected.
func clusterOf(c *config.Config, userAgent string) string {
	for _, r := range c.Routes {
		if r.Match.UserAgent.Match([]byte(userAgent)) {
			return r.Cluster
		}
	}
	return c.Otherwise.Cluster
}

// TestSmallTables: one vendor by dispatcher and one by load_balancer, each with an escape group in the other IDC.
func TestSmallTables(t *testing.T) {
	out, err := OpenSIPS(OpenSIPSTables{
		LoadBalancer: file(t, "small/load_balancer.csv"), Dispatcher: file(t, "small/dispatcher.csv"), Dialplan: file(t, "small/dialplan.csv"),
	}, Options{Escape: 10000, Listen: []string{"udp://10.1.0.5:5060"}})
	if err != nil {
		t.Fatal(err)
	}
	c := accepted(t, "small/golden.yaml", out)
	for ua, want := range map[string]string{
		"ASR_MRCP_CLIENT_CTRIP_FS_ALI":         "ASR_MRCP_SERVER_CTRIP_ALI",
		"ASR_MRCP_CLIENT_CTRIP_FS_BAIDU":       "ASR_MRCP_SERVER_BAIDU",
		"ASR_MRCP_CLIENT_CTRIP_FS_BAIDU 1.8.0": "", // $ in the expression
		"xASR_MRCP_CLIENT_CTRIP_FS_ALI":        "",
		"":                                     "",
	} {
		if got := clusterOf(c, ua); got != want {
			t.Errorf("User-Agent %q goes to %q, want %q", ua, got, want)
		}
	}
	if c.IDC != "IDC_A" || c.Clusters[0].Policy != config.Weighted || c.Clusters[1].Policy != config.LeastLoad {
		t.Errorf("idc %q, policies %q, %q", c.IDC, c.Clusters[0].Policy, c.Clusters[1].Policy)
	}
}

// TestOddTables: an SQL dump with all that cannot be carried over, and what stands in its place.
func TestOddTables(t *testing.T) {
	dump := file(t, "odd/tables.sql")
	out, err := OpenSIPS(OpenSIPSTables{LoadBalancer: dump, Dispatcher: dump, Dialplan: dump}, Options{Escape: 10000})
	if err != nil {
		t.Fatal(err)
	}
	c := accepted(t, "odd/golden.yaml", out)
	for ua, want := range map[string]string{
		"my-VENDOR12": "LB-vendor", "tts": "tts", "TTS2": "asr", "three": "three", "ASR_1": "asr", "else": "asr", "old": "asr", "gone": "asr",
	} {
		if want == "LB-vendor" {
			want = "lb-1" // "vendor one" cannot be a name
		}
		if got := clusterOf(c, ua); got != want {
			t.Errorf("User-Agent %q goes to %q, want %q", ua, got, want)
		}
	}
	for _, lost := range []string{
		"udp:10.0.0.9:5060", "zone=a", ";lr", "transport=ws", "licences=7", "priority 5", "calls=20", "site=7", "fs://", // settings
		"^old$", "(?!ASR)", "^night$", "gw=4", "^gone$", "^none$", "vendor one", "10.0.0.6", "nobody's", `"\\1"`, // rows
	} {
		if lost == "licences=7" || lost == "calls=20" { // both are limits, of which the least counts
			lost = "of several resources"
		}
		if !strings.Contains(string(out), lost) {
			t.Errorf("%q was dropped in silence", lost)
		}
	}
}

func TestWithoutDialplan(t *testing.T) {
	lb := File{"lb", []byte("group_id\tdst_uri\tresources\n1\tsip:10.0.0.1\tpstn=5\n")}
	out, err := OpenSIPS(OpenSIPSTables{LoadBalancer: &lb}, Options{Escape: 10000})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("out", out)
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Clusters[0].Groups[0].Backends[0]; c.Otherwise.Cluster != "lb-1" || b.Capacity != 5 {
		t.Errorf("otherwise %q, %+v", c.Otherwise.Cluster, b)
	}
}

func TestKamailio(t *testing.T) {
	for name, otherwise := range map[string]string{"one": "ds-1", "several": ""} {
		f := file(t, name+".list")
		out, err := Kamailio(*f, Options{Escape: 10000})
		if err != nil {
			t.Fatal(err)
		}
		if c := accepted(t, name+".golden.yaml", out); c.Otherwise.Cluster != otherwise {
			t.Errorf("%s: otherwise %q", name, c.Otherwise.Cluster)
		}
	}
}

// TestEscape: 0 makes every group a cluster of its own.
func TestEscape(t *testing.T) {
	out, err := Kamailio(*file(t, "one.list"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("out", out)
	if err != nil || len(c.Clusters) != 2 || len(c.Clusters[0].Groups) != 1 {
		t.Errorf("%v, %s", err, out)
	}
}

// TestFaults: an error names file, line and column.
func TestFaults(t *testing.T) {
	const ok = "group_id,dst_uri,resources\n1,sip:10.0.0.1,pstn=5\n"
	for name, tc := range map[string]struct{ lb, ds, dp, want string }{
		"no number":        {"group_id,dst_uri,resources\n1,sip:10.0.0.1,pstn=5\nx,sip:10.0.0.1,pstn=5\n", "", "", `lb:3: group_id: a number is wanted, not "x"`},
		"no such column":   {"group,dst_uri,resources\n1,sip:10.0.0.1,pstn=5\n", "", "", "lb:2: group_id: there is no such column"},
		"values missing":   {"group_id,dst_uri,resources\n1,sip:10.0.0.1\n", "", "", "lb:2: has not 3 values"},
		"bare quote":       {"group_id,dst_uri,resources\n1,a\"b,c\n", "", "", "lb:2: bare \""},
		"empty":            {"\n\n", "", "", "lb: is empty"},
		"no rows":          {"group_id,dst_uri,resources\n", "", "", "there is no server"},
		"weight":           {"", "setid,destination,weight\n1,sip:10.0.0.1,-1\n", "", "ds:2: weight: must not be negative"},
		"state":            {"", "setid,destination,state\n1,sip:10.0.0.1,up\n", "", "ds:2: state: a number is wanted"},
		"several":          {ok, "setid,destination,state\n1,sip:10.0.0.1,up\n2,sip:10.0.0.2,down\n", "", "ds:3: state: "},
		"priority of rule": {ok, "", "pr,match_exp,attrs\nhigh,a,1:LB:a\n", "dp:2: pr: a number is wanted"},
		"other table":      {"INSERT INTO x (a) VALUES (1);", "", "", "lb: has no INSERT INTO load_balancer"},
		"no columns":       {"INSERT INTO load_balancer VALUES (1,2);", "", "", "lb:1: INSERT INTO load_balancer names no columns"},
		"row too long":     {"INSERT INTO load_balancer (a) VALUES (1),\n(1,2);", "", "", "lb:2: the row has 2 values for 1 columns"},
		"a query":          {"INSERT INTO load_balancer (a) SELECT 1;", "", "", "lb:1: INSERT INTO load_balancer without VALUES"},
		"quote":            {"INSERT INTO load_balancer (a) VALUES\n('1", "", "", "lb:2: "},
		"comment":          {"INSERT INTO load_balancer (a) VALUES (1);\n/* x", "", "", "lb:2: a quote or comment that begins here does not end"},
		"no value":         {"INSERT INTO load_balancer (a) VALUES (,1);", "", "", `lb:1: a value is wanted, not ","`},
	} {
		t.Run(name, func(t *testing.T) {
			var tables OpenSIPSTables
			for _, f := range []struct {
				name, text string
				table      **File
			}{{"lb", tc.lb, &tables.LoadBalancer}, {"ds", tc.ds, &tables.Dispatcher}, {"dp", tc.dp, &tables.Dialplan}} {
				if f.text != "" {
					*f.table = &File{f.name, []byte(f.text)}
				}
			}
			if out, err := OpenSIPS(tables, Options{Escape: 10000}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q\n%s", err, tc.want, out)
			}
		})
	}
	for text, want := range map[string]string{
		"":                       "l: has no destination",
		"\n1":                    "l:2: destination: is missing",
		"a sip:10.0.0.1":         "l:1: set: a number",
		"1 sip:10.0.0.1 x":       "l:1: flags: a number",
		"1 sip:x 0 0 weight=y":   "l:1: weight: a number",
		"1 sip:x 0 0 maxload=-1": "l:1: maxload: a number",
	} {
		if _, err := Kamailio(File{"l", []byte(text)}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, tc := range []struct {
		op    int
		exp   string
		flags int
		want  string // "": refused
	}{
		{0, "ASR", 0, "=ASR"}, {0, "=ASR", 0, "==ASR"}, {0, "a.b", 1, `~(?i)^a\.b$`},
		{1, "^ASR$", 0, "=ASR"}, {1, "^ASR", 0, "ASR"}, {1, "^=ASR", 0, "~^=ASR"}, {1, "ASR", 0, "~ASR"},
		{1, "^ASR$", 1, "~(?i)^ASR$"}, {1, `^a\.b$`, 0, "=a.b"}, {1, "^a.b$", 0, "~^a.b$"}, {1, "", 0, "~^"},
		{1, "(a)\\1", 0, ""}, {1, "(", 0, ""}, {2, "ASR*", 0, ""},
	} {
		got, _, err := pattern(tc.op, tc.exp, tc.flags)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("match_op %d, match_exp %q, match_flags %d: %q, %v, want %q", tc.op, tc.exp, tc.flags, got, err, tc.want)
		}
	}
}

// isYAML wants YAML where there is no error.
func isYAML(t *testing.T, out []byte, err error) {
	t.Helper()
	if err != nil {
		return
	}
	var v any
	if err := yaml.Unmarshal(out, &v); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// FuzzOpenSIPS: whatever the tables hold, they are refused with an error, or become a configuration in which at most the
// values are wrong, not the YAML.
func FuzzOpenSIPS(f *testing.F) {
	for _, dir := range []string{"small", "odd"} {
		files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.[cs]*"))
		for _, name := range files {
			data, _ := os.ReadFile(name)
			f.Add(data, data, data)
		}
	}
	f.Add([]byte("group_id;dst_uri;resources;description\n1;sip:h;x;\u0085:\n"), []byte(""), []byte("match_exp,attrs\nx,1:LB:true\n"))
	f.Fuzz(func(t *testing.T, lb, ds, dp []byte) {
		out, err := OpenSIPS(OpenSIPSTables{LoadBalancer: &File{"lb", lb}, Dispatcher: &File{"ds", ds}, Dialplan: &File{"dp", dp}}, Options{Escape: 10000})
		isYAML(t, out, err)
	})
}

func FuzzKamailio(f *testing.F) {
	f.Add([]byte("1 sip:10.0.0.1:5060;transport=tcp 0 10 weight=60;duid=\"one\";maxload=50 # x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Kamailio(File{"list", data}, Options{Escape: 10000})
		isYAML(t, out, err)
	})
}

// TestDocs: the tables of the documentation, and what becomes of them, are the ones that are tested.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, lang := range map[string]string{"dispatcher.csv": "csv", "load_balancer.csv": "csv", "dialplan.csv": "csv", "golden.yaml": "yaml"} {
		if want := "\n```" + lang + "\n" + string(file(t, "small/"+name).Data) + "```\n"; !strings.Contains(string(doc), want) {
			t.Errorf("docs/migration.md does not have %s", name)
		}
	}
}

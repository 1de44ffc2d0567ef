package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// turn is what one turn of a subject came to.
type turn struct {
	calls, failed int
	again         int     // retransmissions of client and servers
	cpu           float64 // ms a call, user and system, of all the proxy's processes
	pss           float64 // MB after the load
	seconds       float64
	allocations   float64 // of mrcproxy, a call
}

// run prints the table of a whole run to standard output, and how it goes to standard error.
func run(ctx context.Context, o options, subjects []subject) error {
	if len(subjects) == 0 {
		return fmt.Errorf("no such subject")
	}
	dir, err := os.MkdirTemp("", "mrcproxy-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree, err := tree()
	if err != nil {
		return err
	}
	if o.binary == "" {
		o.binary = filepath.Join(dir, "mrcproxy")
		if err := build(ctx, tree, o.binary, "./cmd/mrcproxy"); err != nil {
			return err
		}
	}
	if err := build(ctx, tree, filepath.Join(dir, "forwarder"), "./test/bench/forwarder"); err != nil {
		return err
	}
	turns := make([][]turn, len(subjects))
	for round := range o.rounds {
		for i := range subjects {
			k := (i + round) % len(subjects) // nobody is always behind the same one
			l := &lab{options: o, subject: subjects[k], tree: tree, dir: filepath.Join(dir, fmt.Sprintf("%d-%d", round, k)), bin: dir}
			t, err := l.turn(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", subjects[k].name, err)
			}
			turns[k] = append(turns[k], t)
			fmt.Fprintf(os.Stderr, "%d/%d %-17s %.4f ms a call, %d calls in %.1f s, %d failed, %d sent again, %.1f MB, %.1f allocations a call\n",
				round+1, o.rounds, subjects[k].name, t.cpu, t.calls, t.seconds, t.failed, t.again, t.pss, t.allocations)
		}
	}
	fmt.Print(table(o, subjects, turns))
	return nil
}

func build(ctx context.Context, tree, out, pkg string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	c.Dir, c.Stderr = tree, os.Stderr
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	return c.Run()
}

// tree is the directory of the module.
func tree() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// table is Markdown: medians, their spread, and the ratio to the first subject, or the one that a subject is to be compared with.
func table(o options, subjects []subject, turns [][]turn) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d calls/s, %d calls a turn, %s held, %d rounds, %s\n\n", strings.ToUpper(o.network), o.rate, o.calls, o.hold, o.rounds,
		time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, "| | CPU of a call, ms: median (least to most) | %s : this | memory (PSS), MB | failed | sent again |\n|---|---|---|---|---|---|\n", subjects[0].name)
	medians := map[string]float64{}
	for i, s := range subjects {
		cpu, pss := make([]float64, 0), make([]float64, 0)
		failed, again := 0, 0
		for _, t := range turns[i] {
			cpu, pss = append(cpu, t.cpu), append(pss, t.pss)
			failed, again = failed+t.failed, again+t.again
		}
		m := median(cpu)
		medians[s.name] = m
		ratio := fmt.Sprintf("%.2f", medians[subjects[0].name]/m)
		if base := medians[s.beside]; base > 0 {
			ratio = fmt.Sprintf("%.2f to %s", base/m, s.beside)
		}
		fmt.Fprintf(&b, "| %s | %.3f (%.3f–%.3f) | %s | %.1f | %d | %d |\n", s.name, m, slices.Min(cpu), slices.Max(cpu), ratio, median(pss), failed, again)
	}
	return b.String()
}

func median(l []float64) float64 {
	l = slices.Sorted(slices.Values(l))
	return (l[(len(l)-1)/2] + l[len(l)/2]) / 2
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Stage is one FROM of a Dockerfile with what follows it.
type Stage struct {
	Name string // of AS; empty without
	From string // an earlier stage, scratch, or an image
	Does []Instruction
}

// Instruction is one line of a stage, with continued lines joined.
type Instruction struct {
	Line int
	Word string // COPY, RUN, …
	Rest string
}

// ParseDockerfile reads the part of the language that our Dockerfile uses; anything else is an error that names the line, for
// what is not understood here must not be built differently there. args are given for the ARGs, over their defaults.
func ParseDockerfile(r io.Reader, args map[string]string) ([]Stage, error) {
	p := dockerfileParser{given: args, global: map[string]string{}, known: map[string]string{}}
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := Instruction{Line: number}
		for strings.HasSuffix(line, `\`) && lines.Scan() {
			number++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines.Text())
		}
		i.Word, i.Rest, _ = strings.Cut(line, " ")
		i.Rest = strings.TrimSpace(i.Rest)
		if err := p.take(i); err != nil {
			return nil, fmt.Errorf("line %d: %w", i.Line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return p.stages, nil
}

type dockerfileParser struct {
	given  map[string]string
	global map[string]string // ARGs before the first FROM
	known  map[string]string // variables of the stage
	stages []Stage
}

func (p *dockerfileParser) take(i Instruction) error {
	switch i.Word {
	case "ARG":
		p.declare(i.Rest)
		return nil
	case "FROM":
		return p.from(i.Rest)
	case "WORKDIR", "COPY", "RUN", "ENV", "USER", "LABEL", "ENTRYPOINT":
		if len(p.stages) == 0 {
			return fmt.Errorf("%s before FROM", i.Word)
		}
	default:
		return fmt.Errorf("%s is not known here: teach deploy/docker/rootfs, or do without", i.Word)
	}
	i.Rest = p.expand(i.Rest, p.known)
	last := &p.stages[len(p.stages)-1]
	last.Does = append(last.Does, i)
	if i.Word == "ENV" {
		name, value, _ := strings.Cut(i.Rest, "=")
		p.known[name] = value
	}
	return nil
}

// declare makes ARGs known, in a stage or before the first.
func (p *dockerfileParser) declare(list string) {
	scope := p.known
	if len(p.stages) == 0 {
		scope = p.global
	}
	for _, arg := range strings.Fields(list) {
		name, value, _ := strings.Cut(arg, "=")
		if given, ok := p.given[name]; ok {
			value = given
		} else if outer, ok := p.global[name]; ok && value == "" {
			value = outer
		}
		scope[name] = value
	}
}

func (p *dockerfileParser) from(rest string) error {
	words := strings.Fields(p.expand(rest, p.global))
	if len(words) > 0 && strings.HasPrefix(words[0], "--platform=") {
		words = words[1:] // here everything is built for this machine
	}
	s := Stage{}
	switch {
	case len(words) == 1:
	case len(words) == 3 && strings.EqualFold(words[1], "AS"):
		s.Name = words[2]
	default:
		return fmt.Errorf("FROM %q is not understood", rest)
	}
	s.From = words[0]
	p.stages = append(p.stages, s)
	p.known = map[string]string{}
	return nil
}

// expand puts in the values of $NAME and ${NAME}. What is not known stays: it is the shell's.
func (p *dockerfileParser) expand(s string, known map[string]string) string {
	var pairs []string
	for name, value := range known {
		pairs = append(pairs, "${"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// execForm reads ["program", "argument"].
func execForm(s string) (words []string, err error) {
	if err := json.Unmarshal([]byte(s), &words); err != nil || len(words) == 0 {
		return nil, fmt.Errorf("%s: want the form [\"program\", …]: without a shell there is no other", s)
	}
	return words, nil
}

// pairs reads name="value" …, the quotes being optional.
func pairs(s string) (map[string]string, error) {
	all := map[string]string{}
	for rest := strings.TrimSpace(s); rest != ""; rest = strings.TrimSpace(rest) {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || strings.ContainsAny(name, " \"") {
			return nil, fmt.Errorf("%q: want name=value", rest)
		}
		var value string
		if quoted, isQuoted := strings.CutPrefix(after, `"`); isQuoted {
			if value, rest, ok = strings.Cut(quoted, `"`); !ok {
				return nil, fmt.Errorf("%q: the quote is not closed", after)
			}
		} else {
			value, rest, _ = strings.Cut(after, " ")
		}
		all[name] = value
	}
	return all, nil
}

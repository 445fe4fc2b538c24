package yamlfile

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/secret"
)

// Checker is what a struct is that knows more about its values than their types. Check is called when all of it could be
// decoded, and notes with At what is wrong.
type Checker interface{ Check(f *File) }

// Decode fills the struct that into points to. Its fields, all exported, have tags:
//
//	yaml:"name"            the key; with ",required" it must be there
//	yaml:",text"           a string that a plain value is, where the struct can be written as one too
//	doc:"…"                one line about it, for JSONSchema
//	enum:"a,b"             the only texts that are taken
//	default:"…"            what counts without the key, for JSONSchema
//
// Types are string, bool (true, false, on, off), numbers, time.Duration, secret.Ref (env: or file:), encoding.TextUnmarshaler,
// structs, pointers, slices (a list of one may be written without brackets) and maps with string keys. A pointer is nil where
// there is no key.
func (f *File) Decode(body []*ast.MappingValueNode, into any) {
	f.places = make(map[any]*token.Token)
	if len(f.found) > 0 {
		return // it could not be parsed
	}
	f.fields(body, reflect.ValueOf(into).Elem())
}

// field is a field of a struct, as its tags describe it.
type field struct {
	index    int
	name     string // empty: the text form
	required bool
	tag      reflect.StructTag
}

func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" && option != "text" {
			continue
		}
		all = append(all, field{i, name, option == "required", t.Field(i).Tag})
	}
	return all
}

// fields fills a struct from a mapping, and has it checked when all values are of their types.
func (f *File) fields(body []*ast.MappingValueNode, v reflect.Value) (good bool) {
	good = true
	all := fieldsOf(v.Type())
	given := make(map[string]bool, len(body))
	for _, kv := range body {
		key := kv.Key.GetToken()
		i := indexOf(all, key.Value)
		if i < 0 {
			f.Unknown(key, "key", namesOf(all))
			continue
		}
		given[key.Value] = true
		good = f.value(all[i], kv.Value, v.Field(all[i].index)) && good
	}
	within := f.within
	if len(body) > 0 {
		f.within = body[0].Key.GetToken()
	}
	for _, one := range all {
		if one.required && !given[one.name] {
			f.Flaw(f.within, "%s is missing", one.name)
			good = false
		}
	}
	f.check(v, good)
	f.within = within
	return good
}

func (f *File) check(v reflect.Value, good bool) {
	if c, ok := v.Addr().Interface().(Checker); ok && good {
		c.Check(f)
	}
}

func indexOf(all []field, name string) int {
	for i, one := range all {
		if one.name == name && name != "" {
			return i
		}
	}
	return -1
}

func namesOf(all []field) (names []string) {
	for _, one := range all {
		if one.name != "" {
			names = append(names, one.name)
		}
	}
	return names
}

// place notes where a value stands.
func (f *File) place(v reflect.Value, n ast.Node) {
	t := tokenOf(n)
	switch m := n.(type) {
	case *ast.MappingValueNode:
		t = m.Key.GetToken()
	case *ast.MappingNode:
		if len(m.Values) > 0 && !m.IsFlowStyle {
			t = m.Values[0].Key.GetToken()
		}
	}
	f.places[v.Addr().Interface()] = t
}

// value fills one value; false after a flaw.
func (f *File) value(of field, n ast.Node, v reflect.Value) bool {
	f.place(v, n)
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		good := f.value(of, n, fresh.Elem())
		v.Set(fresh)
		return good
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok || v.Type() == reflect.TypeFor[secret.Ref]() {
		return f.scalar(of, n, v)
	}
	switch v.Kind() {
	case reflect.Struct:
		return f.structure(of, n, v)
	case reflect.Slice:
		return f.slice(of, n, v)
	case reflect.Map:
		return f.table(of, n, v)
	}
	return f.scalar(of, n, v)
}

func (f *File) structure(of field, n ast.Node, v reflect.Value) bool {
	if _, scalar := n.(ast.ScalarNode); scalar {
		for _, one := range fieldsOf(v.Type()) {
			if one.name == "" {
				within := f.within
				f.within = tokenOf(n)
				one.name = of.name
				good := f.value(one, n, v.Field(one.index))
				f.check(v, good)
				f.within = within
				return good
			}
		}
	}
	before := len(f.found)
	body := f.Mapping(n, of.name)
	if len(f.found) > before {
		return false
	}
	return f.fields(body, v)
}

func (f *File) slice(of field, n ast.Node, v reflect.Value) bool {
	entries := []ast.Node{n}
	if seq, ok := n.(*ast.SequenceNode); ok {
		entries = seq.Values
	}
	list, good := reflect.MakeSlice(v.Type(), len(entries), len(entries)), true
	for i, entry := range entries {
		good = f.value(of, entry, list.Index(i)) && good
	}
	v.Set(list)
	return good
}

func (f *File) table(of field, n ast.Node, v reflect.Value) bool {
	before := len(f.found)
	body := f.Mapping(n, of.name)
	if len(f.found) > before {
		return false
	}
	table, good := reflect.MakeMapWithSize(v.Type(), len(body)), true
	for _, kv := range body {
		entry := reflect.New(v.Type().Elem()).Elem()
		key := kv.Key.GetToken().Value
		good = f.value(field{name: of.name + " " + key, tag: of.tag}, kv.Value, entry) && good
		table.SetMapIndex(reflect.ValueOf(key), entry)
	}
	v.Set(table)
	return good
}

// scalar fills what is written as one plain value.
func (f *File) scalar(of field, n ast.Node, v reflect.Value) bool {
	text, ok := f.Text(of.name, n)
	if !ok {
		return false
	}
	if allowed := of.tag.Get("enum"); allowed != "" {
		names := strings.Split(allowed, ",")
		if !contains(names, text) {
			hint := "want " + strings.Join(names, ", ")
			if near, ok := fault.Nearest(text, names); ok {
				hint = "did you mean " + near + "?"
			}
			f.Flaw(tokenOf(n), "%s cannot be %q: %s", of.name, text, hint)
			return false
		}
	}
	if err := set(of.name, text, v); err != nil {
		if v.Type() == reflect.TypeFor[secret.Ref]() {
			f.hide(tokenOf(n))
		}
		f.Flaw(tokenOf(n), "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return false
	}
	return true
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// hide keeps what stands in a line from a token on out of excerpts.
func (f *File) hide(t *token.Token) {
	if f.hidden == nil {
		f.hidden = make(map[int]int)
	}
	if from, ok := f.hidden[t.Position.Line]; !ok || t.Position.Column < from {
		f.hidden[t.Position.Line] = t.Position.Column
	}
}

func set(name, text string, v reflect.Value) error {
	switch to := v.Addr().Interface().(type) {
	case *secret.Ref:
		ref, err := secret.Parse(name, text)
		*to = ref
		return err
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s: bad duration %q: want a number with its unit, such as 500ms, 10s or 5m", name, text)
		}
		*to = d
		return nil
	case encoding.TextUnmarshaler:
		return to.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		switch text {
		case "true", "on":
			v.SetBool(true)
		case "false", "off":
			v.SetBool(false)
		default:
			return fmt.Errorf("%s cannot be %q: want true or false, on or off", name, text)
		}
		return nil
	}
	return setNumber(name, text, v)
}

func setNumber(name, text string, v reflect.Value) error {
	bits := v.Type().Bits()
	switch {
	case v.CanInt():
		i, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return badNumber(name, text, "a whole number", err)
		}
		v.SetInt(i)
	case v.CanUint():
		u, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return badNumber(name, text, "a whole number from 0 on", err)
		}
		v.SetUint(u)
	default:
		x, err := strconv.ParseFloat(text, bits)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return badNumber(name, text, "a number", err)
		}
		v.SetFloat(x)
	}
	return nil
}

func badNumber(name, text, want string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s: %s is too large", name, text)
	}
	return fmt.Errorf("%s cannot be %q: want %s", name, text, want)
}

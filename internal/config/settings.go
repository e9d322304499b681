package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// setting is one field of a Config with all its names.
type setting struct {
	key   string // tcp.addr
	env   string // LONGWIRE_TCP_ADDR
	flag  string // tcp-addr
	field reflect.StructField
	value reflect.Value // the field of one particular Config
}

const envPrefix = "LONGWIRE_"

// settings returns the fields of c, in the order of the struct.
func settings(c *Config) []setting { return walk(reflect.ValueOf(c).Elem(), "") }

func walk(v reflect.Value, prefix string) []setting {
	var list []setting
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue // no setting
		}
		key := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			list = append(list, walk(v.Field(i), key+".")...)
			continue
		}
		list = append(list, setting{
			key:   key,
			env:   envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")),
			flag:  strings.NewReplacer(".", "-", "_", "-").Replace(key),
			field: f,
			value: v.Field(i),
		})
	}
	return list
}

// section is a group of settings in the file.
type section struct{ name, help string }

func sections() []section {
	var list []section
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Struct {
			list = append(list, section{f.Tag.Get("yaml"), f.Tag.Get("help")})
		}
	}
	return list
}

func (s setting) help() string { return s.field.Tag.Get("help") }

// secret reports whether the value must not be shown.
func (s setting) secret() bool {
	switch s.value.Interface().(type) {
	case Secret, []Secret:
		return true
	}
	return false
}

// list reports whether the setting has several values.
func (s setting) list() bool { return s.value.Kind() == reflect.Slice }

// kind names the type of the value for the help.
func (s setting) kind() string {
	switch s.value.Interface().(type) {
	case bool:
		return "bool"
	case int:
		return "int"
	case Duration:
		return "duration"
	case Size:
		return "size"
	case []string, []Secret:
		return "list"
	}
	if one := s.field.Tag.Get("oneof"); one != "" {
		return one
	}
	return "string"
}

// set parses the text of every source but a YAML list.
func (s setting) set(text string) error {
	if s.list() {
		return s.setList(strings.Split(text, ","))
	}
	v, err := s.parse(text)
	if err != nil {
		return err
	}
	s.value.Set(reflect.ValueOf(v))
	return nil
}

// setList replaces a list and leaves out blank items.
func (s setting) setList(items []string) error {
	list := reflect.MakeSlice(s.value.Type(), 0, len(items))
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			list = reflect.Append(list, reflect.ValueOf(item).Convert(s.value.Type().Elem()))
		}
	}
	s.value.Set(list)
	return nil
}

// parse reads text as the setting's type.
func (s setting) parse(text string) (any, error) {
	text = strings.TrimSpace(text)
	switch s.value.Interface().(type) {
	case string:
		return text, nil
	case Secret:
		return Secret(text), nil
	case Duration:
		return ParseDuration(text)
	case Size:
		return ParseSize(text)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case bool:
		switch strings.ToLower(text) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	}
	panic("config: no parser for " + s.key)
}

// text returns the value as a user writes it, with secrets masked.
func (s setting) text() string {
	switch v := s.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case string:
		if base, query, ok := strings.Cut(v, "?"); ok && s.field.Tag.Get("check") == "url" {
			return base + "?" + Secret(query).String()
		}
		return v
	case []Secret:
		masked := make([]string, len(v))
		for i, x := range v {
			masked[i] = x.String()
		}
		return strings.Join(masked, ",")
	default:
		return fmt.Sprint(v)
	}
}

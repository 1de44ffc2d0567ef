package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the names of the environment variables that override the file: MRCPROXY_LOG_LEVEL is log.level.
const envPrefix = "MRCPROXY"

// Load reads the configuration file at path. Errors are those of Parse, or that the file cannot be read.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration from data, with environment variables overriding it and defaults filled in. The name
// stands for the file in errors. An error is of type Errors and holds every fault found.
func Parse(name string, data []byte) (*Config, error) {
	tree, errs := parseTree(name, data)
	if tree == nil {
		errs.sort()
		return nil, errs
	}
	s := &schema{file: name, places: make(map[string]place), bad: make(map[string]bool), errs: errs}
	s.check("", tree, reflect.TypeFor[rawConfig]())
	env := bindable(s)

	if len(s.errs) > 0 {
		// What is left of the tree is checked as well, so that all faults are reported at once.
		var err error
		if data, err = yaml.Marshal(tree); err != nil {
			return nil, s.errs
		}
	}
	raw, err := decode(data, env)
	if err != nil {
		if len(s.errs) == 0 {
			s.errs = decodeErrors(name, err)
		}
		s.errs.sort()
		return nil, s.errs
	}
	b := &builder{schema: s, env: env}
	c := b.build(raw)
	if len(b.errs) > 0 {
		b.errs.sort()
		return nil, b.errs
	}
	return c, nil
}

// decode reads YAML through viper into the raw structs. The keys of env are overridden by their variables.
func decode(data []byte, env map[string]string) (*rawConfig, error) {
	v := viper.New()
	v.SetConfigType("yaml")
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	for key := range env {
		if err := v.BindEnv(key); err != nil {
			return nil, err
		}
	}
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	var raw rawConfig
	err := v.UnmarshalExact(&raw, viper.DecodeHook(decodeHook), func(c *mapstructure.DecoderConfig) {
		c.WeaklyTypedInput = false
	})
	return &raw, err
}

// decodeErrors reports what the decoder refused though the schema let it pass.
func decodeErrors(name string, err error) Errors {
	if de, ok := errors.AsType[*mapstructure.DecodeError](err); ok {
		return Errors{{File: name, Key: de.Name(), Msg: "cannot be read as the type it must have"}}
	}
	return Errors{{File: name, Msg: "cannot be decoded"}}
}

// decodeHook turns strings, from the environment or the file, into the types of the raw structs.
func decodeHook(_, to reflect.Type, data any) (any, error) {
	if n, ok := data.(int); ok && to == reflect.TypeFor[codeText]() {
		return strconv.Itoa(n), nil
	}
	if n, ok := data.(int); ok && to == reflect.TypeFor[codeList]() {
		return []any{n}, nil
	}
	if n, ok := data.(int); ok && to == reflect.TypeFor[partText]() {
		return strconv.Itoa(n), nil
	}
	if n, ok := data.(int); ok && to == reflect.TypeFor[rawCapacity]() {
		return map[string]any{total: n}, nil
	}
	text, ok := data.(string)
	if !ok {
		return data, nil
	}
	switch {
	case takesOne(to):
		return []any{text}, nil
	case to == reflect.TypeFor[time.Duration]():
		return time.ParseDuration(text)
	case to.Kind() == reflect.Int:
		return strconv.Atoi(text)
	case to.Kind() == reflect.Float64:
		return strconv.ParseFloat(text, 64)
	case to.Kind() == reflect.Bool:
		return strconv.ParseBool(text)
	}
	return data, nil
}

// envName is the variable that overrides key.
func envName(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// bindable gives the keys that the environment overrides and their variables. A variable that is set but does not fit
// its key is reported and left out. An empty variable counts as not set.
func bindable(s *schema) map[string]string {
	env := make(map[string]string)
	for key, t := range envKeys() {
		name := envName(key)
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		if msg := wrongText(text, t); msg != "" {
			s.bad[key] = true
			s.errs = append(s.errs, &Error{Env: name, Key: key, Msg: msg})
			continue
		}
		env[key] = name
	}
	return env
}

// envKeys gives every key that the environment can override, and its type: all that hold one value and do not stand in
// a list.
func envKeys() map[string]reflect.Type {
	keys := make(map[string]reflect.Type)
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t.Kind() == reflect.Struct:
			for f := range t.Fields() {
				walk(join(path, f.Tag.Get("mapstructure")), f.Type)
			}
		case takesOne(t):
			keys[path] = t.Elem()
		case t.Kind() != reflect.Slice && t.Kind() != reflect.Map:
			keys[path] = t
		}
	}
	walk("", reflect.TypeFor[rawConfig]())
	return keys
}

// wrongText says why the text of a variable cannot be a t; "" if it can.
func wrongText(text string, t reflect.Type) string {
	if t.Kind() == reflect.String || t == reflect.TypeFor[time.Duration]() {
		return wrongType(text, text, t)
	}
	var value any = text
	if n, err := strconv.Atoi(text); err == nil {
		value = n
	} else if f, err := strconv.ParseFloat(text, 64); err == nil {
		value = f
	} else if b, err := strconv.ParseBool(text); err == nil {
		value = b
	}
	return wrongType(value, text, t)
}
